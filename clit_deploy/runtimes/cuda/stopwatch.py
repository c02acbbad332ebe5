"""Device times, from events on the device. Nothing waits for them until they are read."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from clit_deploy.runtimes.protocols import DeviceTime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clit_deploy.runtimes.cuda.cuda_api import Cuda


class Stopwatch:
    """Off until it is started. Then it records an event before and after each span, on the
    stream of that span."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._on = False
        self._spans: list[tuple[str, str, Any, Any]] = []

    @contextlib.contextmanager
    def span(self, member: str, kind: str, stream: Any) -> Iterator[None]:
        """Time what is enqueued inside; `kind` is `upload`, `compute` or `download`."""
        if not self._on:
            yield
            return
        start, stop = self._cuda.timed_event(), self._cuda.timed_event()
        self._cuda.record(start, stream)
        yield
        self._cuda.record(stop, stream)
        self._spans.append((member, kind, start, stop))

    def start(self) -> None:
        """Start timing, and drop earlier times."""
        self._forget()
        self._on = True

    def times(self) -> list[DeviceTime]:
        """The sums for every graph; waits for runs that are under way."""
        sums: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
        runs: defaultdict[str, int] = defaultdict(int)
        for member, kind, start, stop in self._spans:
            self._cuda.wait_here(stop)
            sums[member][kind] += self._cuda.elapsed(start, stop)
            runs[member] += kind == "compute"
        self._forget()
        return [
            DeviceTime(member, runs[member], of["upload"], of["compute"], of["download"])
            for member, of in sums.items()
        ]

    def _forget(self) -> None:
        for _, _, start, stop in self._spans:
            self._cuda.destroy_event(start)
            self._cuda.destroy_event(stop)
        self._spans.clear()
