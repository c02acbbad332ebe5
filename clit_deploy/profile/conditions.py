"""The state of the machine during the runs, and whether figures made in it are comparable."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from clit_deploy.profile.records import Clock, Conditions, Temperature
from clit_deploy.profile.sensors.host_memory import SWAP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clit_deploy.profile.records import Unavailable
    from clit_deploy.profile.sampler import Sampler, Series
    from clit_deploy.profile.sensors.sensor import Domain, SensorSet

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
    steady: Sampler,
    found: SensorSet,
    load_before: float | None,
    missing: Unavailable,
    *,
    on_device: bool,
) -> Conditions:
    """Sum up what was sampled; `on_device` says whether a GPU did the work."""
    limits = {domain.name: domain for domain in found.domains}
    clocks = [
        _clock(one, limits.get(one.sensor.name), missing)
        for one in steady.of("clock")
        if one.values
    ]
    gone = {f"{s.sensor.name} {s.sensor.quantity}": s.gap for s in steady.series if s.gap}
    load, swap = steady.first("load"), steady.values(SWAP)
    reported = [s for s in steady.of("throttle", "events") if s.values]
    throttling = _throttling(steady)
    unknown = "the system does not report it"
    return Conditions(
        clocks=tuple(clocks),
        clock_state=_state(clocks, on_device=on_device),
        temperatures=tuple(
            Temperature(s.sensor.name, s.values[0], s.values[-1], max(s.values))
            for s in steady.of("temperature")
            if s.values
        ),
        throttled=missing.check(
            "conditions.throttled",
            bool(throttling) if reported else None,
            "no sensor that reports throttling can be read",
        ),
        throttling=tuple(throttling),
        swap_start=missing.check("conditions.swap_start", int(swap[0]) if swap else None, unknown),
        swap_end=missing.check("conditions.swap_end", int(swap[-1]) if swap else None, unknown),
        load_before=missing.check("conditions.load_before", load_before, unknown),
        gpu_load=missing.check(
            "conditions.gpu_load", fmean(load) if load else None, "no sensor reports a GPU's load"
        ),
        sampler_share=steady.cost_s / steady.elapsed_s if steady.elapsed_s else 0.0,
        absent={**found.absent, **gone},
    )


def caveats(found: Conditions) -> list[str]:
    """Why figures made in this state are not comparable with others."""
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
    return reported


def _state(clocks: Sequence[Clock], *, on_device: bool) -> str:
    """The worst of the clocks that matter; unknown without a clock of what did the work."""
    deciding = [c for c in clocks if on_device or c.name.startswith(DECIDING)]
    worker = "gpu" if on_device else "cpu"
    states = [c.state for c in deciding]
    if not any(c.name.startswith(worker) for c in deciding):
        states.append("unknown")
    return max(states, key=STATES.index)


def _clock(series: Series, domain: Domain | None, missing: Unavailable) -> Clock:
    values = series.values
    still = max(values) - min(values) <= STILL * max(values)
    locked = domain.locked() if domain else None
    if not still or locked is False:
        state = "floating"
    elif series.gap:
        state = "unknown"
    else:
        state = "locked" if locked else "steady"
    governor = missing.check(
        "conditions.clocks.governor",
        (domain.governor or None) if domain else None,
        "the clock has no governor that can be read",
    )
    return Clock(series.sensor.name, state, min(values), fmean(values), max(values), governor)


def _throttling(steady: Sampler) -> list[str]:
    states = [s.sensor.name for s in steady.of("throttle") if s.values and max(s.values) > 0]
    counts = [
        f"{s.sensor.name} +{s.values[-1] - s.values[0]:.0f}"
        for s in steady.of("events")
        if s.values and s.values[-1] > s.values[0]
    ]
    return states + counts
