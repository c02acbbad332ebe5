"""What the graphs of a plan really see: a runtime that keeps the inputs of every run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clit_deploy.bundle import Plan
    from clit_deploy.runtimes.base import Array, Runner, Runtime

    Feeds = dict[str, Array]


class Recording:
    """A `Runtime` around another one; `seen` has the inputs of up to `most` runs of a graph."""

    def __init__(self, runtime: Runtime, most: int) -> None:
        self.name, self.appetite, self.arrays = runtime.name, runtime.appetite, runtime.arrays
        self.seen: dict[str, list[Feeds]] = {}
        self.most = most
        self._inner = runtime

    def runner(
        self, plan: Plan, member: str, *, wide: bool, dims: Mapping[str, int] | None = None
    ) -> Runner:
        """See `Runtime.runner`."""
        inner = self._inner.runner(plan, member, wide=wide, dims=dims)
        return _RecordingRunner(inner, self.seen.setdefault(member, []), self.most)

    def close(self) -> None:
        """See `Runtime.close`."""
        self._inner.close()


class _RecordingRunner:
    def __init__(self, inner: Runner, seen: list[Feeds], most: int) -> None:
        self._inner, self._seen, self._most = inner, seen, most

    def run(self, feeds: Mapping[str, Array]) -> Array:
        if len(self._seen) < self._most:
            self._seen.append(dict(feeds))
        return self._inner.run(feeds)
