"""How the machine was during the runs, and whether figures made on it can be compared."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from clit_deploy.profile.records import Clock, Conditions, Temperature

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clit_deploy.profile.sampler import Sampler, Series
    from clit_deploy.profile.sensors import Domain

STILL = 0.01
"""A clock that moves by more than this part of itself floats."""
SWAPPED = 1 << 20
"""Bytes of swap that may come and go without a word."""
STATES = ("locked", "steady", "unknown", "floating")
"""Of clocks, from the best to the worst."""
DECIDING = ("cpu", "emc")
"""Clocks that a run on the processor depends on; work on a GPU depends on all of them."""


def conditions(
    steady: Sampler,
    domains: Sequence[Domain],
    absent: dict[str, str],
    swap: tuple[int | None, int | None],
    load_before: float | None,
    *,
    on_device: bool,
) -> Conditions:
    """Sum up what was sampled; `swap` is before and after, `on_device` whether a GPU worked."""
    limits = {domain.name: domain for domain in domains}
    clocks = [_clock(one, limits.get(one.sensor.name)) for one in steady.of("clock") if one.values]
    gone = {f"{s.sensor.name} {s.sensor.quantity}": s.gap for s in steady.series if s.gap}
    load = next((s.values for s in steady.of("load") if s.values), None)
    return Conditions(
        clocks=tuple(clocks),
        clock_state=_state(clocks, on_device=on_device),
        temperatures=tuple(
            Temperature(s.sensor.name, s.values[0], s.values[-1], max(s.values))
            for s in steady.of("temperature")
            if s.values
        ),
        throttled=_throttled(steady),
        throttling=tuple(_throttling(steady)),
        swap_start=swap[0],
        swap_end=swap[1],
        load_before=load_before,
        gpu_load=fmean(load) if load else None,
        sampler_share=steady.cost_s / steady.elapsed_s if steady.elapsed_s else 0.0,
        absent={**absent, **gone},
    )


def caveats(found: Conditions) -> list[str]:
    """Why figures made under these conditions cannot be compared with others."""
    reported = []
    if found.clock_state == "floating":
        names = [clock.name for clock in found.clocks if clock.state == "floating"]
        many = f" and {len(names) - 3} more" * (len(names) > 3)
        reported.append(f"clocks float ({', '.join(names[:3])}{many}); lock them first")
    if found.clock_state == "unknown":
        reported.append(
            "the clocks that matter cannot be read all the time, so they count as floating"
        )
    if found.throttled:
        reported.append(f"the machine throttled ({', '.join(found.throttling[:3])})")
    grown = (found.swap_end or 0) - (found.swap_start or 0)
    if grown > SWAPPED:
        reported.append(f"{grown / 1e6:.0f} MB went into swap")
    return reported


def _state(clocks: Sequence[Clock], *, on_device: bool) -> str:
    """The worst of the clocks that matter; nothing is known without one of what did the work."""
    deciding = [c for c in clocks if on_device or c.name.startswith(DECIDING)]
    worker = "gpu" if on_device else "cpu"
    states = [c.state for c in deciding]
    if not any(c.name.startswith(worker) for c in deciding):
        states.append("unknown")
    return max(states, key=STATES.index)


def _clock(series: Series, domain: Domain | None) -> Clock:
    values = series.values
    still = max(values) - min(values) <= STILL * max(values)
    locked = domain.locked() if domain else None
    if not still or locked is False:
        state = "floating"
    elif series.gap:
        state = "unknown"
    else:
        state = "locked" if locked else "steady"
    governor = domain.governor or None if domain else None
    return Clock(series.sensor.name, state, min(values), fmean(values), max(values), governor)


def _throttled(steady: Sampler) -> bool | None:
    reported = [s for s in steady.of("throttle", "events") if s.values]
    return bool(_throttling(steady)) if reported else None


def _throttling(steady: Sampler) -> list[str]:
    states = [s.sensor.name for s in steady.of("throttle") if s.values and max(s.values) > 0]
    counts = [
        f"{s.sensor.name} +{s.values[-1] - s.values[0]:.0f}"
        for s in steady.of("events")
        if s.values and s.values[-1] > s.values[0]
    ]
    return states + counts
