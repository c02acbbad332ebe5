"""Energy of the runs, from the power monitors' readings during them and before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.errors import ProfileError
from clit_deploy.profile.records import Power, Rail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clit_deploy.profile.sampler import Sampler, Series
    from clit_deploy.profile.sensors.sensor import Component

MIN_READINGS = 3
"""Fewer readings give no mean."""


def power(
    steady: Sampler, idle: dict[str, float], images: int, megapixels: float, worker: Component
) -> Power:
    """Watts and joules of the steady runs.

    Args:
        steady: what was sampled from the start of the first to the end of the last run.
        idle: watts of every rail before the plan was loaded.
        images: how many runs there were.
        megapixels: output of one run.
        worker: what did the work; a total that does not cover it does not count.

    Raises:
        ProfileError: the monitors give no total; the message is the reason.
    """
    series = steady.of("power", "energy")
    total = [one for one in series if one.sensor.total]
    _check_total(total, worker)
    rails = tuple(_rail(one, idle) for one in series if not _problem(one))
    summed = [rail for rail in rails if rail.total]
    mean = sum(rail.mean_w for rail in summed)
    if mean <= 0:
        raise ProfileError(f"{' + '.join(rail.name for rail in summed)} reported {mean:g} W")
    known = [rail.idle_w for rail in summed if rail.idle_w is not None]
    base = sum(known) if len(known) == len(summed) else None
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
    )


def idle_watts(sampler: Sampler) -> dict[str, float]:
    """Mean watts of every rail that answered."""
    series = sampler.of("power", "energy")
    return {one.sensor.name: _mean(one) for one in series if not _problem(one)}


def _mean(series: Series) -> float:
    """Mean watts over time, by trapezoids; of an energy counter exactly what it counted."""
    times, values = series.times, series.values
    if series.sensor.quantity == "energy":
        return (values[-1] - values[0]) / (times[-1] - times[0])
    t, v = np.asarray(times), np.asarray(values)
    return float(((v[1:] + v[:-1]) / 2 * np.diff(t)).sum() / (t[-1] - t[0]))


def _check_total(total: Sequence[Series], worker: Component) -> None:
    if not any(worker in one.sensor.covers for one in total):
        raise ProfileError(f"no power monitor that covers the {worker.upper()} can be read")
    if problems := "; ".join(filter(None, map(_problem, total))):
        raise ProfileError(problems)


def _problem(series: Series) -> str:
    """Why a rail gives no mean; empty if it does."""
    count = len(series.watts().values)
    few = f"{series.sensor.name} has {count} readings; measure for longer"
    return series.gap or (few if count < MIN_READINGS else "")


def _rail(series: Series, idle: dict[str, float]) -> Rail:
    sensor = series.sensor
    return Rail(
        name=sensor.name,
        total=sensor.total,
        idle_w=idle.get(sensor.name),
        mean_w=_mean(series),
        max_w=max(series.watts().values),
    )


def _highest_sum(total: Sequence[Series]) -> float:
    """The highest watts of all rails at once, at the times of the first."""
    watts = [one.watts() for one in total]
    at = watts[0].times
    return float(sum(np.interp(at, one.times, one.values) for one in watts).max())  # type: ignore[union-attr]
