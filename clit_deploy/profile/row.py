"""A row of the profile from what was measured, and the times of its layers."""

from __future__ import annotations

import hashlib
from itertools import islice
from typing import TYPE_CHECKING, Any

from clit_deploy.errors import error_message
from clit_deploy.profile.conditions import caveats, conditions
from clit_deploy.profile.measure import measure, opened
from clit_deploy.profile.power import power
from clit_deploy.profile.records import MemoryUse, PixelSize, Row
from clit_deploy.profile.sensors.host_memory import AVAILABLE, MACHINE, PROCESS
from clit_deploy.profile.stats import MIN_RUNS, drift, summarize
from clit_deploy.render.layout import Layout
from clit_deploy.runtimes.protocols import LayerProfiler

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from clit_deploy.profile.measure import Measured, ProfileContext
    from clit_deploy.profile.records import Power, Unavailable
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
    runs, manifest, result, missing = found.runs, found.plan.manifest, found.result, found.missing
    stats, output = summarize(runs.ms), PixelSize(result.size[1], result.size[0])
    state = conditions(
        found.steady, context.found, found.load_before, missing, on_device=found.on_device
    )
    why_not = caveats(state)
    if stats.count < MIN_RUNS:
        why_not.append(f"{stats.count} runs do not show their own noise; {MIN_RUNS} do")
    on_cpu = "its graphs run on the CPU"
    return Row(
        requested=requested,
        plan=found.plan.name,
        plan_sha256=_digest(case.plan),
        source=manifest.source.sha256,
        family=manifest.family,
        precision=manifest.precision,
        runtime=found.runtime,
        on_device=found.on_device,
        threads=missing.check("threads", case.threads, "not given, so all cores"),
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
        device=missing.check(
            "device",
            runs.device() if found.has_device_times else None,
            "the runtime offers no device times" if found.on_device else on_cpu,
        ),
        layers=_layers(context, case, Layout(result.tile, result.block), missing),
        timeline=runs.timeline(),
        runs=runs.raw(),
        drift=missing.check("drift", drift(runs.ms), "ten runs are needed"),
        memory=_memory(found),
        power=_power(context, found, output.megapixels),
        conditions=state,
        quality=found.quality,
        curves=found.steady.curves(),
        comparable=not why_not,
        caveats=tuple(why_not),
        unavailable=missing,
    )


def _digest(plan: Path) -> str:
    with plan.open("rb") as file:
        digest = hashlib.sha256()
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def _power(context: ProfileContext, found: Measured, megapixels: float) -> Power | None:
    worker: Any = "gpu" if found.on_device else "cpu"
    count, missing = len(found.runs.ms), found.missing
    energy = power(found.steady, context.idle, count, megapixels, missing, worker=worker)
    if energy is None:  # why the sensors are missing says more
        missing["power"] = context.found.absent.get(f"{worker} power", missing["power"])
    return energy


def _memory(found: Measured) -> MemoryUse:
    sampled, used, free = map(found.steady.values, (PROCESS, MACHINE, AVAILABLE))
    (before, peak), missing = found.peak, found.missing
    from_system = peak > before or not sampled
    unknown = "the system does not report it"
    return MemoryUse(
        host_peak=peak if from_system else int(max(sampled)),
        host_peak_from="system" if from_system else "samples",
        predicted=found.result.predicted_bytes,
        machine_peak=missing.check(
            "memory.machine_peak", int(max(used)) if used else None, unknown
        ),
        headroom=missing.check("memory.headroom", int(min(free)) if free else None, unknown),
        device=missing.check(
            "memory.device", found.device_bytes, "the runtime reports no device memory"
        ),
    )


def _layers(
    context: ProfileContext, case: Case, layout: Layout, missing: Unavailable
) -> tuple[LayerTime, ...] | None:
    """Times of single layers, from a pass of their own, for timing them slows the runs; or None.

    The image's first strip is rendered twice with the row's layout: every graph has the shapes
    that it had in the row, and the pass takes no more memory than the row did.
    """
    profilers: list[LayerProfiler] = []

    def start(runtime: Runtime) -> Runtime:
        if isinstance(runtime, LayerProfiler):
            runtime.start_layers()
            profilers.append(runtime)
        return runtime

    try:
        with opened(case, context.max_memory, start) as up:
            image = context.reference.image
            job = up.renderer.job(image, scale=case.scale)
            for _ in range(LAYER_PASSES if profilers else 0):
                for _ in islice(up.renderer.prepare(job, layout=layout).strips(image), 1):
                    pass
            found = tuple(profilers[0].layers()) if profilers else None
            return missing.check("layers", found, "the runtime offers no layer times")
    except Exception as error:  # the other figures are kept
        missing["layers"] = f"the pass that times them failed: {error_message(error)}"
        return None
