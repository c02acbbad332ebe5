"""The state of the machine during the runs, and whether figures made in it are comparable."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from clit_deploy.profile.records import Clock, Conditions, Temperature
from clit_deploy.profile.sensors.host_memory import SWAP
from clit_deploy.profile.stats import MIN_RUNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clit_deploy.profile.sampler import Sampler, Series
    from clit_deploy.profile.sensors.sensor import SensorSet

STILL = 0.01
"""A clock that moves by more than this fraction of itself is floating."""
SWAPPED = 1 << 20
"""Bytes of swap that may come and go unmentioned."""
STATES = ("locked", "steady", "unknown", "floating")
"""Of clocks, from the best to the worst."""
DECIDING = ("cpu", "emc")
"""Clocks that a run on the CPU depends on; work on a GPU depends on all of them."""
SHOWN = 3
"""Names of clocks or throttling sensors in a sentence."""


def conditions(
    steady: Sampler, found: SensorSet, load_before: float | None, *, on_device: bool
) -> Conditions:
    """Sum up what was sampled; `on_device` says whether a GPU did the work."""
    clocks = tuple(map(_clock, steady.answered("clock")))
    load = [series.values for series in steady.answered("load")]
    swap = [int(value) for value in steady.values(SWAP)]
    throttling = tuple(_throttling(steady))
    gone = {f"{s.sensor.name} {s.sensor.quantity}": s.gap for s in steady.series if s.gap}
    return Conditions(
        clocks=clocks,
        clock_state=_state(clocks, on_device=on_device),
        temperatures=tuple(
            Temperature(zone.sensor.name, zone.values[0], zone.values[-1], max(zone.values))
            for zone in steady.answered("temperature")
        ),
        throttled=bool(throttling) if steady.answered("throttle", "events") else None,
        throttling=throttling,
        swap_start=swap[0] if swap else None,
        swap_end=swap[-1] if swap else None,
        load_before=load_before,
        gpu_load=fmean(load[0]) if load else None,
        sampler_share=steady.cost_s / steady.elapsed_s if steady.elapsed_s else 0.0,
        absent={**found.absent, **gone},
    )


def caveats(found: Conditions, runs: int = MIN_RUNS) -> list[str]:
    """Why figures of some runs in this state are not comparable with others."""
    reported = []
    if found.clock_state == "floating":
        names = [clock.name for clock in found.clocks if clock.state == "floating"]
        more = f" and {len(names) - SHOWN} more" * (len(names) > SHOWN)
        reported.append(f"clocks float ({', '.join(names[:SHOWN])}{more}); lock them first")
    if found.clock_state == "unknown":
        reported.append(
            "the clocks that matter cannot be read all the time, so they count as floating"
        )
    if found.throttled:
        reported.append(f"the machine throttled ({', '.join(found.throttling[:SHOWN])})")
    grown = (found.swap_end or 0) - (found.swap_start or 0)
    if grown > SWAPPED:
        reported.append(f"{grown / 1e6:.0f} MB went into swap")
    if runs < MIN_RUNS:
        reported.append(f"{runs} runs do not show their own noise; {MIN_RUNS} do")
    return reported


def _state(clocks: Sequence[Clock], *, on_device: bool) -> str:
    """The worst of the clocks that matter; unknown without a clock of what did the work."""
    deciding = [c for c in clocks if on_device or c.name.startswith(DECIDING)]
    worker = "gpu" if on_device else "cpu"
    states = [c.state for c in deciding]
    if not any(c.name.startswith(worker) for c in deciding):
        states.append("unknown")
    return max(states, key=STATES.index)


def _clock(series: Series) -> Clock:
    name, values, limits = series.sensor.name, series.values, series.sensor.limits
    still = max(values) - min(values) <= STILL * max(values)
    locked = limits.equal() if limits else None
    if not still or locked is False:
        state = "floating"
    elif series.gap:
        state = "unknown"
    else:
        state = "locked" if locked else "steady"
    governor = limits.governor if limits else None
    return Clock(name, state, min(values), fmean(values), max(values), governor or None)


def _throttling(steady: Sampler) -> Iterator[str]:
    for series in steady.answered("throttle"):
        if max(series.values) > 0:
            yield series.sensor.name
    for series in steady.answered("events"):
        if (more := series.values[-1] - series.values[0]) > 0:
            yield f"{series.sensor.name} +{more:.0f}"
