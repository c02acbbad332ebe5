"""Sensor readings over time, thinned out for plots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.profile.records import TimeSeries
from clit_deploy.profile.sensors.sensor import UNITS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clit_deploy.profile.sampler import Sampler, Series

PROCESS, MACHINE, AVAILABLE = "process", "machine", "available"
"""Names of the sensors of memory that every profile has."""
POINTS = 240
"""Means of neighbouring readings stand for them beyond this."""


def curves(steady: Sampler) -> tuple[TimeSeries, ...]:
    """Power, the clocks of GPU, memory and one processor, the hottest zone, memory in use."""
    return tuple(_curve(series, steady.start) for series in _chosen(steady) if series.values)


def _chosen(steady: Sampler) -> Iterator[Series]:
    for series in steady.of("power", "energy"):
        yield series.watts()
    clocks = steady.of("clock")
    processors = [s for s in clocks if s.sensor.name.startswith("cpu")]
    yield from (s for s in clocks if s not in processors)
    yield from processors[:1]
    zones = [s for s in steady.of("temperature") if s.values]
    yield from sorted(zones, key=lambda s: -max(s.values))[:1]
    yield from (s for s in steady.of("memory") if s.sensor.name != AVAILABLE)


def _curve(series: Series, start: float) -> TimeSeries:
    power = series.sensor.quantity == "energy"
    unit = "W" if power else UNITS[series.sensor.quantity]
    times, values = _thinned(series.times), _thinned(series.values)
    seconds = tuple(round(t - start, 3) for t in times)
    return TimeSeries(series.sensor.name, unit, seconds, tuple(round(v, 4) for v in values))


def _thinned(values: list[float]) -> list[float]:
    parts = np.array_split(np.asarray(values, float), min(POINTS, len(values)))
    return [float(part.mean()) for part in parts]
