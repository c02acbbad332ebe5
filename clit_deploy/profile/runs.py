"""Runs of one case: each as `clit-deploy run` would do it, with its phases and graph calls."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter_ns
from typing import TYPE_CHECKING

from clit_deploy.profile.records import GraphTime, PhaseTime, TraceEvent
from clit_deploy.runtimes.protocols import DeviceTime
from clit_deploy.system.phases import Recorder
from clit_deploy.tasks.output_size import OutputSize
from clit_deploy.tasks.upscale_file import UpscaleResult, upscale_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from clit_deploy.render.layout import Layout
    from clit_deploy.runtimes.wrappers import Call, TracedRuntime
    from clit_deploy.system.phases import Phase
    from clit_deploy.upscaler import Upscaler

KEPT = 9
"""This many runs are kept whole; the one nearest to the median is shown."""

_SUMMED = ("runs", "upload_ms", "compute_ms", "download_ms")

MILLI = 1e-6
"""Nanoseconds in milliseconds."""


@dataclass(frozen=True)
class Run:
    """One run, in nanoseconds."""

    start: int
    stop: int
    phases: list[Phase]
    calls: list[Call]

    @property
    def ms(self) -> float:
        """End to end."""
        return (self.stop - self.start) * MILLI


@dataclass
class FileJob:
    """Upscales one image file to another, again and again."""

    up: Upscaler
    traced: TracedRuntime
    source: Path
    target: Path
    scale: float
    layout: Layout | None = None

    def run(self) -> tuple[Run, UpscaleResult]:
        """Do it once."""
        self.traced.calls.clear()
        with Recorder() as recorder:
            start = perf_counter_ns()
            result = upscale_file(
                self.up,
                self.source,
                self.target,
                OutputSize(self.scale),
                force=True,
                layout=self.layout,
            )
            stop = perf_counter_ns()
        return Run(start, stop, recorder.phases, list(self.traced.calls)), result


@dataclass
class Runs:
    """Sums over steady runs; single events are kept of the first few only."""

    starts: list[int] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)
    _phases: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _calls: Counter[str] = field(default_factory=Counter)
    _busy: Counter[str] = field(default_factory=Counter)
    _device: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _kept: list[Run] = field(default_factory=list)

    def add(self, run: Run, device: Iterable[DeviceTime] = ()) -> None:
        """Add a run, and what its graphs took on their device."""
        for time in device:
            self._device[time.member].update({k: getattr(time, k) for k in _SUMMED})
        self.starts.append(run.start)
        self.ms.append(run.ms)
        sums: Counter[str] = Counter()
        for name, start, stop in run.phases:
            sums[name] += stop - start
        for name, spent in sums.items():
            self._phases[name].append(spent * MILLI)
        for call in run.calls:
            self._calls[call.member] += 1
            self._busy[call.member] += call.stop - call.start
        if len(self._kept) < KEPT:
            self._kept.append(run)

    def phases(self) -> tuple[PhaseTime, ...]:
        """Means over all runs, in the order in which phases first appeared."""
        whole = sum(self.ms)
        return tuple(
            PhaseTime(name, sum(spent) / len(self.ms), median(spent), sum(spent) / whole)
            for name, spent in self._phases.items()
        )

    def graphs(self) -> tuple[GraphTime, ...]:
        """What each graph took in one image, summed over threads."""
        count = len(self.ms)
        return tuple(
            GraphTime(member, runs / count, self._busy[member] * MILLI / count)
            for member, runs in self._calls.items()
        )

    def device(self) -> tuple[DeviceTime, ...]:
        """What each graph took on its device in one image."""
        count = len(self.ms)
        return tuple(
            DeviceTime(member, round(of["runs"] / count), *(of[k] / count for k in _SUMMED[1:]))
            for member, of in self._device.items()
        )

    def timeline(self) -> tuple[TraceEvent, ...]:
        """The kept run nearest to the median: its phases, and the graphs on every thread."""
        middle = median(self.ms)
        run = min(self._kept, key=lambda run: abs(run.ms - middle))
        threads = {thread: k for k, thread in enumerate(dict.fromkeys(c.thread for c in run.calls))}
        events = [("phases", name, start, stop) for name, start, stop in run.phases]
        events += [
            (f"thread {threads[c.thread] + 1}", c.member, c.start, c.stop) for c in run.calls
        ]
        return tuple(
            TraceEvent(lane, name, (start - run.start) * MILLI, (stop - start) * MILLI)
            for lane, name, start, stop in events
        )

    def raw(self) -> tuple[tuple[float, float], ...]:
        """Of every run: seconds since the first one's start, and milliseconds."""
        return tuple(
            ((start - self.starts[0]) / 1e9, ms)
            for start, ms in zip(self.starts, self.ms, strict=True)
        )

    def cover(self) -> float:
        """The fraction of the end-to-end time that lies in phases."""
        return sum(phase.share for phase in self.phases())
