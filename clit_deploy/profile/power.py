"""Energy of the runs, from the power monitors' readings during them and before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.profile.records import Power, Rail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clit_deploy.profile.records import Unavailable
    from clit_deploy.profile.sampler import Sampler, Series
    from clit_deploy.profile.sensors.sensor import Component

MIN_READINGS = 3
"""Fewer readings give no mean."""
NO_IDLE = "a rail was not read while the machine was idle"


def power(
    steady: Sampler,
    idle: dict[str, float],
    images: int,
    megapixels: float,
    missing: Unavailable,
    *,
    worker: Component,
) -> Power | None:
    """Watts and joules of the steady runs; None where `missing` has a reason for `power`.

    Args:
        steady: what was sampled from the start of the first to the end of the last run.
        idle: watts of every rail before the plan was loaded.
        images: how many runs there were.
        megapixels: output of one run.
        missing: takes the reasons for what is None.
        worker: what did the work; a total that does not cover it does not count.
    """
    series = steady.of("power", "energy")
    total = [one for one in series if one.sensor.total]
    why = _unusable(total, worker)
    rails = tuple(_rail(one, idle) for one in series if not _problem(one))
    mean = sum(rail.mean_w for rail in rails if rail.total)
    if not why and mean <= 0:
        why = f"{' + '.join(rail.name for rail in rails if rail.total)} reported {mean:g} W"
    if why:
        missing["power"] = why
        return None
    if any(rail.idle_w is None for rail in rails):
        missing["power.rails.idle_w"] = NO_IDLE
    rest = [rail.idle_w for rail in rails if rail.total]
    known = [watts for watts in rest if watts is not None]
    base = sum(known) if len(known) == len(rest) else None
    seconds = steady.elapsed_s / images
    above = None if base is None else (mean - base) * seconds
    per_image, per_megapixel = "joules_per_image", "joules_per_megapixel"
    return Power(
        rails=rails,
        idle_w=missing.check("power.idle_w", base, NO_IDLE),
        mean_w=mean,
        max_w=_highest_sum(total),
        joules_per_image=mean * seconds,
        joules_per_megapixel=mean * seconds / megapixels,
        above_idle_joules_per_image=missing.check(f"power.above_idle_{per_image}", above, NO_IDLE),
        above_idle_joules_per_megapixel=missing.check(
            f"power.above_idle_{per_megapixel}",
            None if above is None else above / megapixels,
            NO_IDLE,
        ),
        images_per_second_per_watt=1 / (seconds * mean),
        rate_hz=steady.rate,
        achieved_hz=steady.achieved_rate,
    )


def idle_watts(sampler: Sampler) -> dict[str, float]:
    """Mean watts of every rail that answered."""
    series = sampler.of("power", "energy")
    return {one.sensor.name: mean_of(one) for one in series if not _problem(one)}


def mean_of(series: Series) -> float:
    """Mean watts over time, by trapezoids; of an energy counter exactly what it counted."""
    times, values = series.times, series.values
    if series.sensor.quantity == "energy":
        return (values[-1] - values[0]) / (times[-1] - times[0])
    t, v = np.asarray(times), np.asarray(values)
    return float(((v[1:] + v[:-1]) / 2 * np.diff(t)).sum() / (t[-1] - t[0]))


def _unusable(total: Sequence[Series], worker: Component) -> str:
    """Why the rails of the total give no power; empty if they do."""
    if not any(worker in one.sensor.covers for one in total):
        return f"no power monitor that covers the {worker.upper()} can be read"
    return "; ".join(filter(None, map(_problem, total)))


def _problem(series: Series) -> str:
    """Why a rail gives no mean; empty if it does."""
    count = len(series.watts().values)
    few = f"{series.sensor.name} has {count} readings; measure for longer"
    return series.gap or (few if count < MIN_READINGS else "")


def _rail(series: Series, idle: dict[str, float]) -> Rail:
    name, watts = series.sensor.name, series.watts().values
    return Rail(name, series.sensor.total, idle.get(name), mean_of(series), max(watts))


def _highest_sum(total: Sequence[Series]) -> float:
    """The highest watts of all rails at once, at the times of the first."""
    watts = [one.watts() for one in total]
    at = watts[0].times
    return float(sum(np.interp(at, one.times, one.values) for one in watts).max())  # type: ignore[union-attr]
