"""Wrappers of a runtime that record inputs, trace calls, or share graphs between plans."""

from __future__ import annotations

import threading
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.runtimes.protocols import Array, Runner, Runtime, WorkLimits

    Feeds = Mapping[str, Array]
    RecordInputs = Callable[[str, Feeds], object]


class RuntimeWrapper:
    """A `Runtime` that passes every call on to an inner one."""

    def __init__(self, inner: Runtime, work_limits: WorkLimits | None = None) -> None:
        self.inner = inner
        self.name, self.arrays, self.on_device = inner.name, inner.arrays, inner.on_device
        self.work_limits = work_limits or inner.work_limits

    def runner(
        self, plan: Plan, member: str, *, parallel: bool, dims: Mapping[str, int] | None = None
    ) -> Runner:
        """See `Runtime.runner`."""
        return self.inner.runner(plan, member, parallel=parallel, dims=dims)

    def close(self) -> None:
        """See `Runtime.close`."""
        self.inner.close()


class InputRecorder(RuntimeWrapper):
    """Passes a graph's name and inputs to `record` before every run.

    With `work_limits` the work is cut into chunks of another size and order.
    """

    def __init__(
        self, inner: Runtime, record: RecordInputs, work_limits: WorkLimits | None = None
    ) -> None:
        super().__init__(inner, work_limits)
        self._record = record

    def runner(
        self, plan: Plan, member: str, *, parallel: bool, dims: Mapping[str, int] | None = None
    ) -> Runner:
        """See `Runtime.runner`."""
        inner = super().runner(plan, member, parallel=parallel, dims=dims)
        return _RecordedRunner(inner, member, self._record)


class _RecordedRunner:
    def __init__(self, inner: Runner, member: str, record: RecordInputs) -> None:
        self._inner, self._member, self._record = inner, member, record

    def run(self, feeds: Feeds) -> Array:
        self._record(self._member, feeds)
        return self._inner.run(feeds)


class Call(NamedTuple):
    """One run of a graph on one thread; times are those of `time.perf_counter_ns`."""

    member: str
    thread: int
    start: int
    stop: int


class TracedRuntime(RuntimeWrapper):
    """Records when graphs are opened and run. The cost for a run is two readings of the clock."""

    def __init__(self, inner: Runtime) -> None:
        super().__init__(inner)
        self.calls: list[Call] = []
        self.opened: dict[str, float] = {}
        """Milliseconds that it took to open each graph, the last time."""

    def runner(
        self, plan: Plan, member: str, *, parallel: bool, dims: Mapping[str, int] | None = None
    ) -> Runner:
        """See `Runtime.runner`."""
        start = perf_counter_ns()
        runner = super().runner(plan, member, parallel=parallel, dims=dims)
        self.opened[member] = (perf_counter_ns() - start) / 1e6
        return _TracedRunner(runner, member, self.calls)


class _TracedRunner:
    def __init__(self, inner: Runner, member: str, calls: list[Call]) -> None:
        self._inner, self._member, self._calls = inner, member, calls

    def run(self, feeds: Feeds) -> Array:
        start = perf_counter_ns()
        result = self._inner.run(feeds)
        self._calls.append(Call(self._member, threading.get_ident(), start, perf_counter_ns()))
        return result


class CachingRuntime(RuntimeWrapper):
    """Opens each graph of a plan once, for plans that share most of their graphs with it."""

    def __init__(self, inner: Runtime, plan: Plan) -> None:
        super().__init__(inner)
        self._shared = set(plan.manifest.digests.values())
        self._runners: dict[tuple[Any, ...], Runner] = {}

    def runner(
        self, plan: Plan, member: str, *, parallel: bool, dims: Mapping[str, int] | None = None
    ) -> Runner:
        """See `Runtime.runner`."""
        digest = plan.manifest.digests[member]
        if digest not in self._shared:
            return super().runner(plan, member, parallel=parallel, dims=dims)
        key = (digest, plan.manifest.precision, parallel, *sorted((dims or {}).items()))
        if key not in self._runners:
            self._runners[key] = super().runner(plan, member, parallel=parallel, dims=dims)
        return self._runners[key]

    def close(self) -> None:
        """Release the graphs; the inner runtime stays open for its owner."""
        self._runners.clear()
