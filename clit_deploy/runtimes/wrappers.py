"""What the graphs of a plan really see: a runtime that shows the inputs of every run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.runtimes.protocols import Array, Runner, Runtime, WorkLimits

    Feeds = Mapping[str, Array]
    RecordInputs = Callable[[str, Feeds], object]


class InputRecorder:
    """A `Runtime` around another one; `keep` gets a graph's name and its inputs before every run.

    Another work_limits than that of the inner runtime makes chunks of another size and order.
    """

    def __init__(
        self, inner: Runtime, keep: RecordInputs, work_limits: WorkLimits | None = None
    ) -> None:
        self.name, self.arrays = inner.name, inner.arrays
        self.work_limits = work_limits or inner.work_limits
        self._inner = inner
        self._keep = keep

    def runner(
        self, plan: Plan, member: str, *, parallel: bool, dims: Mapping[str, int] | None = None
    ) -> Runner:
        """See `Runtime.runner`."""
        inner = self._inner.runner(plan, member, parallel=parallel, dims=dims)
        return _RecordedRunner(inner, member, self._keep)

    def close(self) -> None:
        """See `Runtime.close`."""
        self._inner.close()


class _RecordedRunner:
    def __init__(self, inner: Runner, member: str, keep: RecordInputs) -> None:
        self._inner, self._member, self._keep = inner, member, keep

    def run(self, feeds: Feeds) -> Array:
        self._keep(self._member, feeds)
        return self._inner.run(feeds)
