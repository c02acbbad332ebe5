"""A runtime that notes when its graphs are opened and run, and passes everything on."""

from __future__ import annotations

import threading
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.runtimes.protocols import Array, Runner, Runtime


class Call(NamedTuple):
    """One run of a graph on one thread; times are those of `time.perf_counter_ns`."""

    member: str
    thread: int
    start: int
    stop: int


class TracedRuntime:
    """A runtime with a list of calls. Two readings of the clock are all that a run costs."""

    def __init__(self, inner: Runtime) -> None:
        self.inner = inner
        self.name, self.work_limits, self.arrays = inner.name, inner.work_limits, inner.arrays
        self.calls: list[Call] = []
        self.opened: dict[str, float] = {}
        """Milliseconds that opening each graph took, the last time."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def runner(
        self, plan: Plan, member: str, *, parallel: bool, dims: Mapping[str, int] | None = None
    ) -> Runner:
        """See `Runtime.runner`."""
        start = perf_counter_ns()
        runner = self.inner.runner(plan, member, parallel=parallel, dims=dims)
        self.opened[member] = (perf_counter_ns() - start) / 1e6
        return _TracedRunner(runner, member, self.calls)

    def close(self) -> None:
        """See `Runtime.close`."""
        self.inner.close()


class _TracedRunner:
    def __init__(self, inner: Runner, member: str, calls: list[Call]) -> None:
        self._inner, self._member, self._calls = inner, member, calls

    def run(self, feeds: Mapping[str, Array]) -> Array:
        start = perf_counter_ns()
        result = self._inner.run(feeds)
        self._calls.append(Call(self._member, threading.get_ident(), start, perf_counter_ns()))
        return result
