"""What the graphs of a plan really see: a runtime that shows the inputs of every run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.runtimes.protocols import Appetite, Array, Runner, Runtime

    Feeds = Mapping[str, Array]
    Keep = Callable[[str, Feeds], object]


class Recording:
    """A `Runtime` around another one; `keep` gets a graph's name and its inputs before every run.

    Another appetite than that of the inner runtime makes chunks of another size and order.
    """

    def __init__(self, inner: Runtime, keep: Keep, appetite: Appetite | None = None) -> None:
        self.name, self.arrays = inner.name, inner.arrays
        self.appetite = appetite or inner.appetite
        self._inner = inner
        self._keep = keep

    def runner(
        self, plan: Plan, member: str, *, wide: bool, dims: Mapping[str, int] | None = None
    ) -> Runner:
        """See `Runtime.runner`."""
        inner = self._inner.runner(plan, member, wide=wide, dims=dims)
        return _RecordingRunner(inner, member, self._keep)

    def close(self) -> None:
        """See `Runtime.close`."""
        self._inner.close()


class _RecordingRunner:
    def __init__(self, inner: Runner, member: str, keep: Keep) -> None:
        self._inner, self._member, self._keep = inner, member, keep

    def run(self, feeds: Feeds) -> Array:
        self._keep(self._member, feeds)
        return self._inner.run(feeds)
