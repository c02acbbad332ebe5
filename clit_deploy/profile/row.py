"""A row of the profile from what was measured, and the times of its layers."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from clit_deploy.errors import error_message
from clit_deploy.profile.conditions import caveats, conditions
from clit_deploy.profile.measure import measure, opened
from clit_deploy.profile.power import power
from clit_deploy.profile.reasons import attempt, reasons
from clit_deploy.profile.records import MemoryUse, PixelSize, Row
from clit_deploy.profile.sensors.host_memory import AVAILABLE, MACHINE, PROCESS
from clit_deploy.profile.stats import drift, summarize
from clit_deploy.render.layout import Layout
from clit_deploy.runtimes.protocols import LayerProfiler

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from clit_deploy.profile.measure import Measured, ProfileContext
    from clit_deploy.profile.records import Power
    from clit_deploy.profile.sweep import Case
    from clit_deploy.runtimes.protocols import LayerTime, Runtime

LAYER_PASSES = 2


def measure_row(
    context: ProfileContext,
    case: Case,
    requested: dict[str, Any],
    progress: Callable[[float], None],
) -> Row:
    """Measure a case and its layers; `requested` is what distinguishes its row from others."""
    found = measure(context, case, progress)
    row = _row(context, case, found, requested)
    try:
        row = replace(row, layers=_layers(context, case, Layout(row.tile, row.block)))
    except Exception as error:  # the other figures are kept
        why = error_message(error)
        found.special["layers"] = f"the pass that times them failed: {why}"
    if row.on_device:
        found.special["device"] = "the runtime offers no device times"
    return replace(row, unavailable=reasons(row, found.special))


def _row(context: ProfileContext, case: Case, found: Measured, requested: dict[str, Any]) -> Row:
    runs, manifest, result = found.runs, found.plan.manifest, found.result
    stats, output = summarize(runs.ms), PixelSize(result.size[1], result.size[0])
    state = conditions(found.steady, context.found, found.load_before, on_device=found.on_device)
    why_not = caveats(state, stats.count)
    return Row(
        requested=requested,
        plan=found.plan.name,
        plan_sha256=_digest(case.plan),
        source=manifest.source.sha256,
        family=manifest.family,
        precision=manifest.precision,
        runtime=found.runtime,
        on_device=found.on_device,
        threads=case.threads,
        scale=case.scale,
        output=output,
        tile=result.tile,
        block=result.block,
        loading=found.loading,
        host_ms=stats,
        ms_per_megapixel=stats.p50 / output.megapixels,
        images_per_second=1000 / stats.mean,
        megapixels_per_second=1000 * output.megapixels / stats.mean,
        phases=runs.phases(),
        phases_cover=runs.cover(),
        graphs=runs.graphs(),
        device=None if found.device_bytes is None else runs.device(),
        timeline=runs.timeline(),
        runs=runs.raw(),
        drift=drift(runs.ms),
        memory=_memory(found),
        power=_power(context, found, output.megapixels),
        conditions=state,
        quality=found.quality,
        curves=found.steady.curves(),
        comparable=not why_not,
        caveats=tuple(why_not),
        unavailable={},
    )


def _digest(plan: Path) -> str:
    with plan.open("rb") as file:
        digest = hashlib.sha256()
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def _power(context: ProfileContext, found: Measured, megapixels: float) -> Power | None:
    worker: Any = "gpu" if found.on_device else "cpu"
    count = len(found.runs.ms)
    if why := context.found.absent.get(f"{worker} power"):  # says more than what is left
        found.special["power"] = why
        return None
    return attempt(
        "power",
        found.special,
        lambda: power(found.steady, context.idle, count, megapixels, worker),
    )


def _memory(found: Measured) -> MemoryUse:
    sampled, used, free = map(found.steady.values, (PROCESS, MACHINE, AVAILABLE))
    before, peak = found.peak
    from_system = peak > before or not sampled
    return MemoryUse(
        host_peak=peak if from_system else int(max(sampled)),
        host_peak_from="system" if from_system else "samples",
        predicted=found.result.predicted_bytes,
        machine_peak=int(max(used)) if used else None,
        headroom=int(min(free)) if free else None,
        device=found.device_bytes,
    )


def _layers(context: ProfileContext, case: Case, layout: Layout) -> tuple[LayerTime, ...] | None:
    """Times of single layers, from a pass of their own, for timing them slows the runs; None if
    the runtime offers none.

    The image's first strip is rendered twice with the row's layout: every graph has the shapes
    that it had in the row, and the pass takes no more memory than the row did.
    """
    profilers: list[LayerProfiler] = []

    def start(runtime: Runtime) -> Runtime:
        if isinstance(runtime, LayerProfiler):
            runtime.start_layers()
            profilers.append(runtime)
        return runtime

    with opened(case, context.max_memory, start) as up:
        image = context.reference.image
        job = up.renderer.job(image, scale=case.scale)
        for _ in range(LAYER_PASSES if profilers else 0):
            for _ in islice(up.renderer.prepare(job, layout=layout).strips(image), 1):
                pass
        return tuple(profilers[0].layers()) if profilers else None
