"""Energy of the runs, from what the power monitors said meanwhile and before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.profile.records import Power, Rail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clit_deploy.profile.sampler import Sampler, Series
    from clit_deploy.profile.sensors.sensor import Component

MIN_READINGS = 3
"""Readings without which there is no mean."""


def power(
    steady: Sampler, idle: dict[str, float], images: int, megapixels: float, *, worker: Component
) -> tuple[Power | None, str]:
    """Watts and joules of the steady runs.

    Args:
        steady: what was sampled from the start of the first to the end of the last run.
        idle: watts of every rail before the plan was loaded.
        images: how many runs there were.
        megapixels: output of one run.
        worker: what did the work; a total without its power is none.

    Returns: the figures, or None and why there are none.
    """
    series = steady.of("power", "energy")
    total = [one for one in series if one.sensor.total]
    if not any(worker in one.sensor.covers for one in total):
        return None, f"no power monitor that holds the {worker.upper()}'s total can be read"
    gaps = [one.gap or _few(one.watts()) for one in total]
    if any(gaps):
        return None, "; ".join(filter(None, gaps))
    rails = tuple(
        Rail(one.sensor.name, one.sensor.total, idle.get(one.sensor.name), mean_of(one), _max(one))
        for one in series
        if one.gap is None and not _few(one.watts())
    )
    mean = sum(rail.mean_w for rail in rails if rail.total)
    if mean <= 0:
        return None, f"{' + '.join(rail.name for rail in rails if rail.total)} told {mean:g} W"
    rest = [rail.idle_w for rail in rails if rail.total]
    known = [watts for watts in rest if watts is not None]
    base = sum(known) if len(known) == len(rest) else None
    seconds = steady.elapsed_s / images
    above = None if base is None else (mean - base) * seconds
    return Power(
        rails=rails,
        idle_w=base,
        mean_w=mean,
        max_w=_highest_sum(total),
        joules_per_image=mean * seconds,
        joules_per_megapixel=mean * seconds / megapixels,
        above_idle_joules_per_image=above,
        above_idle_joules_per_megapixel=None if above is None else above / megapixels,
        images_per_second_per_watt=1 / (seconds * mean),
        rate_hz=steady.rate,
        achieved_hz=steady.achieved_rate,
    ), ""


def idle_watts(sampler: Sampler) -> dict[str, float]:
    """Mean watts of every rail that answered."""
    return {
        one.sensor.name: mean_of(one)
        for one in sampler.of("power", "energy")
        if one.gap is None and not _few(one.watts())
    }


def mean_of(series: Series) -> float:
    """Watts over time, by trapezoids; of an energy counter exactly what it counted."""
    times, values = series.times, series.values
    if series.sensor.quantity == "energy":
        return (values[-1] - values[0]) / (times[-1] - times[0])
    t, v = np.asarray(times), np.asarray(values)
    return float(((v[1:] + v[:-1]) / 2 * np.diff(t)).sum() / (t[-1] - t[0]))


def _few(series: Series) -> str:
    if len(series.values) >= MIN_READINGS:
        return ""
    return f"{series.sensor.name} has {len(series.values)} readings; measure for longer"


def _max(series: Series) -> float:
    return max(series.watts().values)


def _highest_sum(total: Sequence[Series]) -> float:
    """The highest watts of all rails at once, at the times of the first."""
    watts = [one.watts() for one in total]
    at = watts[0].times
    return float(sum(np.interp(at, one.times, one.values) for one in watts).max())  # type: ignore[union-attr]
