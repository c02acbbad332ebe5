"""Reads sensors at a fixed rate on a thread of its own, and measures what that costs."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.profile.records import TimeSeries
from clit_deploy.profile.sensors.host_memory import AVAILABLE, SWAP
from clit_deploy.profile.sensors.sensor import UNITS, UNREADABLE, Quantity, Sensor, reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RATE = 10.0
"""Readings a second of power and energy."""
SLOW = 5
"""Everything else is read at every fifth of them: it changes slowly, and there is much of it."""
FAST: tuple[Quantity, ...] = ("power", "energy")
ENDS: tuple[Quantity, ...] = ("events",)
"""Counters are read at the start and at the end only."""
ENOUGH = 0.95
"""Fraction of its readings that a sensor must have answered for its figures to count."""
PLOTTED = 240
"""Points of a plot; of more readings, neighbors are averaged."""


@dataclass
class Series:
    """The readings of one sensor."""

    sensor: Sensor
    times: list[float] = field(default_factory=list)
    """Seconds, by `time.perf_counter`."""
    values: list[float] = field(default_factory=list)
    attempts: int = 0
    error: str = ""
    """Why it last did not answer."""

    def read(self) -> None:
        """Read the sensor once more; one that does not answer may do so later."""
        self.attempts += 1
        try:
            value = self.sensor.value()
        except UNREADABLE as error:
            self.error = reason(error)
            return
        self.times.append(time.perf_counter())
        self.values.append(value)

    @property
    def gap(self) -> str | None:
        """Why the series cannot stand for the whole time; None if it can."""
        if self.attempts and len(self.values) >= max(ENOUGH * self.attempts, 1):
            return None
        answered = f"{len(self.values)} of {self.attempts} readings"
        return f"{self.sensor.name} answered {answered}: {self.error or 'too short a time'}"

    def watts(self) -> Series:
        """The same as power, where the sensor counts energy."""
        if self.sensor.quantity != "energy":
            return self
        power = Series(self.sensor, attempts=max(self.attempts - 1, 0), error=self.error)
        steps = zip(self.times, self.times[1:], self.values, self.values[1:], strict=False)
        for t0, t1, joules0, joules1 in steps:
            power.times.append((t0 + t1) / 2)
            power.values.append((joules1 - joules0) / (t1 - t0))
        return power

    def curve(self, start: float) -> TimeSeries:
        """The readings for a plot, with seconds from `start` on."""
        unit = "W" if self.sensor.quantity == "energy" else UNITS[self.sensor.quantity]
        times, values = (
            [float(part.mean()) for part in np.array_split(some, min(PLOTTED, len(some)))]
            for some in (self.times, self.values)
        )
        seconds = tuple(round(t - start, 3) for t in times)
        return TimeSeries(self.sensor.name, unit, seconds, tuple(round(v, 4) for v in values))


class Sampler:
    """Samples while it is entered.

    A reading of an I2C monitor takes the kernel a millisecond; Python's lock is free meanwhile,
    so the runs that are measured go on.
    """

    def __init__(self, sensors: Sequence[Sensor], rate: float = RATE) -> None:
        self.rate = rate
        self.series = [Series(sensor) for sensor in sensors]
        self.cost_s = 0.0
        """CPU time that the sampling took."""
        self.elapsed_s = 0.0
        self.ticks = 0
        self.start = 0.0
        """By `time.perf_counter`."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clit-sampler", daemon=True)

    def __enter__(self) -> Sampler:
        self.start = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.elapsed_s = time.perf_counter() - self.start

    def of(self, *quantities: Quantity) -> list[Series]:
        """The series of some quantities."""
        return [series for series in self.series if series.sensor.quantity in quantities]

    def answered(self, *quantities: Quantity) -> list[Series]:
        """Those of them that have readings."""
        return [series for series in self.of(*quantities) if series.values]

    def values(self, name: str) -> list[float]:
        """The readings of a memory sensor by its name; empty without it."""
        return next((s.values for s in self.of("memory") if s.sensor.name == name), [])

    def curves(self) -> tuple[TimeSeries, ...]:
        """For plots: power, the clocks of GPU, memory and one CPU core, the hottest zone, memory
        in use."""
        return tuple(one.curve(self.start) for one in self._plotted() if one.values)

    @property
    def achieved_rate(self) -> float:
        """Readings a second that there really were."""
        return self.ticks / self.elapsed_s if self.elapsed_s else 0.0

    def _plotted(self) -> Iterator[Series]:
        yield from (series.watts() for series in self.of("power", "energy"))
        clocks = self.of("clock")
        cores = [s for s in clocks if s.sensor.name.startswith("cpu")]
        yield from (s for s in clocks if s not in cores)
        yield from cores[:1]
        yield from sorted(self.answered("temperature"), key=lambda s: -max(s.values))[:1]
        yield from (s for s in self.of("memory") if s.sensor.name not in (AVAILABLE, SWAP))

    def _run(self) -> None:
        fast = self.of(*FAST)
        slow = [s for s in self.series if s.sensor.quantity not in (*FAST, *ENDS)]
        self._read(self.series)
        due = self.start + 1 / self.rate
        while not self._stop.wait(max(due - time.perf_counter(), 0)):
            self._read(fast + slow if self.ticks % SLOW == 0 else fast)
            due = max(due + 1 / self.rate, time.perf_counter())
        self._read(self.series)
        self.cost_s = time.thread_time()

    def _read(self, series: Sequence[Series]) -> None:
        for one in series:
            one.read()
        self.ticks += 1
