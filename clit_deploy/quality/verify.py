"""Repeat the parity check of a plan on this machine, and compare its engines with its graphs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clit_deploy.config import Precision
from clit_deploy.engines.check import allowed_error, check_engines
from clit_deploy.quality.parity import (
    TILED_SCALE,
    check_tiled,
    compare_on,
    stored_samples,
    tiled_on,
    tiling_image,
)
from clit_deploy.runtimes.trt.engine_runtime import EngineRuntime
from clit_deploy.upscaler import Upscaler

if TYPE_CHECKING:
    from pathlib import Path

    from clit_deploy.plan.manifest import ParityCase, TiledCase
    from clit_deploy.plan.plan_file import Plan


@dataclass(frozen=True)
class Verification:
    """What `verify_plan` checked; it raises an error if a check fails."""

    members: int
    runtime: str
    cases: tuple[ParityCase, ...]
    tiled: TiledCase
    engines: float | None
    """Largest difference from ONNX Runtime, relative to the output's standard deviation; None where
    no engines ran."""


def verify_plan(
    plan: Plan,
    image: Path | None = None,
    runtime: str = "auto",
    *,
    threads: int | None = None,
    max_memory: str | int | None = None,
    rebuild: bool = True,
    device: str | None = None,
) -> Verification:
    """Check every digest, repeat the parity check, compare tiled with whole, engines with graphs.

    Args:
        plan: the plan.
        image: an image for the comparison of tiled with whole; only its middle is used if it is
            larger than two tiles. By default a synthetic image.
        runtime: name of the runtime.
        threads: CPU threads; None for all cores.
        max_memory: bytes that the process may use, a number or text like `2GB`.
        rebuild: build engines if those of the plan are missing or built for another device.
        device: number or part of the name of a WebGPU adapter.

    Raises:
        PlanError: the plan is damaged, or stores no samples for a parity check.
        ParityError: a difference exceeds its tolerance. Where tiling is not exact, the tolerance
            of tiles follows from what the export measured on its own image; with another image
            the difference is only reported.
        EngineError: engines compute something else than the graphs.
    """
    members = list(plan.manifest.digests)
    for member in members:
        plan.read(member)
    samples, parity = stored_samples(plan), plan.manifest.proof
    assert parity is not None  # noqa: S101  (stored_samples has checked)
    with Upscaler(
        plan,
        runtime=runtime,
        threads=threads,
        max_memory=max_memory,
        rebuild=rebuild,
        device=device,
    ) as up:
        plan, name = up.plan, up.runtime.name
        on_engines = isinstance(up.runtime, EngineRuntime)
        engines = check_engines(plan, up.runtime) if on_engines else None
        tolerance = parity.tolerance if engines is None else allowed_error(plan)
        cases = compare_on(up, samples, tolerance)
        tiled = tiled_on(up, tiling_image(plan, image), TILED_SCALE)
    if image is None or plan.manifest.encoder.exact:
        exact = plan.manifest.precision == Precision.FP32.value and engines is None
        check_tiled(tiled, plan.manifest.encoder.tiling, exact=exact)
    return Verification(len(members), name, cases, tiled, engines)
