"""A row of the profile from what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clit_deploy.profile.conditions import caveats, conditions
from clit_deploy.profile.curves import AVAILABLE, MACHINE, PROCESS, curves
from clit_deploy.profile.power import power
from clit_deploy.profile.records import MemoryUse, Row
from clit_deploy.profile.stats import LEAST_RUNS, drift, summarise
from clit_deploy.profile.unavailable import reasons

if TYPE_CHECKING:
    from clit_deploy.profile.bench import ProfileContext
    from clit_deploy.profile.measure import Measured
    from clit_deploy.profile.records import Conditions
    from clit_deploy.profile.sampler import Sampler
    from clit_deploy.profile.sensors.sensor import Component
    from clit_deploy.profile.sweep import Case
    from clit_deploy.runtimes.protocols import LayerTime

NO_TIMES = "the runtime offers no times of its device"


def make_row(
    bench: ProfileContext,
    case: Case,
    asked: dict[str, Any],
    found: Measured,
    layers: tuple[tuple[LayerTime, ...] | None, str],
    peak_before: int,
) -> Row:
    """Put everything in its place.

    Args:
        bench: what all cases share.
        case: what was measured.
        asked: what makes the row itself.
        found: what was measured.
        layers: see `time_layers`.
        peak_before: the most that the process had held before the case began, bytes.
    """
    runs, manifest = found.runs, found.plan.manifest
    stats = summarise(runs.ms)
    megapixels = found.outcome.size[0] * found.outcome.size[1] / 1e6
    worker: Component = "gpu" if found.on_device else "cpu"
    energy, no_energy = power(found.steady, bench.idle, stats.count, megapixels, worker=worker)
    state = _conditions(bench, found)
    why_not = caveats(state)
    if stats.count < LEAST_RUNS:
        why_not.append(f"{stats.count} runs say nothing about their noise; {LEAST_RUNS} do")
    row = Row(
        asked=asked,
        plan=found.plan.name,
        source=manifest.source.sha256,
        family=manifest.family,
        precision=manifest.precision,
        runtime=found.runtime,
        on_device=found.on_device,
        threads=case.threads,
        scale=case.scale,
        output=found.outcome.size,
        tile=found.outcome.tile,
        block=found.outcome.block,
        loading=found.loading,
        host_ms=stats,
        ms_per_megapixel=stats.p50 / megapixels,
        images_per_second=1000 / stats.mean,
        megapixels_per_second=1000 * megapixels / stats.mean,
        phases=runs.phases(),
        phases_cover=runs.cover(),
        busy=runs.busy(),
        device=found.device,
        layers=layers[0],
        timeline=runs.timeline(),
        runs=runs.raw(),
        drift=drift(runs.ms),
        memory=_memory(found, peak_before),
        power=energy,
        conditions=state,
        quality=found.quality,
        curves=curves(found.steady),
        comparable=not why_not,
        caveats=tuple(why_not),
        reasons={},
    )
    own = {
        "device": NO_TIMES if found.on_device else "its graphs run on the processor",
        "layers": layers[1],
        "power": bench.found.absent.get(f"{worker} power", no_energy),
        "quality": found.no_quality,
    }
    row.reasons.update(reasons(row, own))
    return row


def _conditions(bench: ProfileContext, found: Measured) -> Conditions:
    return conditions(
        found.steady,
        bench.domains,
        bench.found.absent,
        found.swap,
        found.load_before,
        on_device=found.on_device,
    )


def _memory(found: Measured, before: int) -> MemoryUse:
    sampled = _values(found.steady, PROCESS)
    free = _values(found.steady, AVAILABLE)
    used = _values(found.steady, MACHINE)
    from_system = found.peak > before or not sampled
    return MemoryUse(
        host_peak=found.peak if from_system else int(max(sampled)),
        host_peak_from="system" if from_system else "samples",
        predicted=found.outcome.predicted_bytes,
        machine_peak=int(max(used)) if used else None,
        headroom=int(min(free)) if free else None,
        device=found.device_bytes,
    )


def _values(steady: Sampler, name: str) -> list[float]:
    return next((s.values for s in steady.of("memory") if s.sensor.name == name), [])
