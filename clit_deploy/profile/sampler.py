"""Reads sensors at a fixed rate on a thread of its own, and says what that cost."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clit_deploy.profile.sensors.sensor import UNREADABLE, Quantity, Sensor, reason

if TYPE_CHECKING:
    from collections.abc import Sequence

RATE = 10.0
"""Readings a second of power and energy."""
SLOW = 5
"""All else is read at every fifth of them, for it changes slowly and there is much of it."""
FAST: tuple[Quantity, ...] = ("power", "energy")
ENDS: tuple[Quantity, ...] = ("events",)
"""Counters are read at the start and at the end alone."""

ENOUGH = 0.95
"""Part of its readings that a sensor must have answered for its figures to count."""


@dataclass
class Series:
    """What one sensor said, and when."""

    sensor: Sensor
    times: list[float] = field(default_factory=list)
    """Seconds, by `time.perf_counter`."""
    values: list[float] = field(default_factory=list)
    asked: int = 0
    lost: str = ""
    """Why it last did not answer."""

    def ask(self) -> None:
        """Read the sensor once more; one that does not answer may do so later."""
        self.asked += 1
        try:
            value = self.sensor.read()
        except UNREADABLE as error:
            self.lost = reason(error)
            return
        self.times.append(time.perf_counter())
        self.values.append(value)

    @property
    def gap(self) -> str | None:
        """Why the series cannot stand for the whole time; None if it can."""
        if self.asked and len(self.values) >= max(ENOUGH * self.asked, 1):
            return None
        reported = f"{len(self.values)} of {self.asked} readings"
        return f"{self.sensor.name} answered {reported}: {self.lost or 'too short a time'}"

    def watts(self) -> Series:
        """The same as power, where the sensor counts energy."""
        if self.sensor.quantity != "energy":
            return self
        power = Series(self.sensor, asked=self.asked, lost=self.lost)
        steps = zip(self.times, self.times[1:], self.values, self.values[1:], strict=False)
        for t0, t1, joules0, joules1 in steps:
            power.times.append((t0 + t1) / 2)
            power.values.append((joules1 - joules0) / (t1 - t0))
        power.asked -= self.asked > 0
        return power


class Sampler:
    """Samples while it is entered.

    A reading of an I2C monitor takes the kernel a millisecond; Python's lock is free meanwhile,
    so the runs that are measured go on.
    """

    def __init__(self, sensors: Sequence[Sensor], rate: float = RATE) -> None:
        self.rate = rate
        self.series = [Series(sensor) for sensor in sensors]
        self.cost_s = 0.0
        """Processor time that the sampling took."""
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

    @property
    def achieved_rate(self) -> float:
        """Readings a second that there really were."""
        return self.ticks / self.elapsed_s if self.elapsed_s else 0.0

    def _run(self) -> None:
        everything = self.series
        fast = self.of(*FAST)
        slow = [s for s in everything if s.sensor.quantity not in (*FAST, *ENDS)]
        self._read(everything)
        due = self.start + 1 / self.rate
        while not self._stop.wait(max(due - time.perf_counter(), 0)):
            self._read(fast + slow if self.ticks % SLOW == 0 else fast)
            due = max(due + 1 / self.rate, time.perf_counter())
        self._read(everything)
        self.cost_s = time.thread_time()

    def _read(self, series: Sequence[Series]) -> None:
        for one in series:
            one.ask()
        self.ticks += 1
