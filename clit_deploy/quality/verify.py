"""Is a plan right on this machine? Its parity check repeated, and engines against graphs."""

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
    """All that `verify_plan` checked; it raises where something is wrong."""

    members: int
    runtime: str
    cases: tuple[ParityCase, ...]
    tiled: TiledCase
    engines: float | None
    """Largest difference from ONNX Runtime over the output's deviation, where engines ran."""


def verify_plan(
    plan: Plan,
    image: Path | None = None,
    runtime: str = "auto",
    *,
    threads: int | None = None,
    max_memory: str | int | None = None,
    rebuild: bool = True,
) -> Verification:
    """Check every digest, repeat the proof, compare tiled with whole, and engines with graphs.

    Args:
        plan: the plan.
        image: a picture for the comparison of tiled with whole, of which the middle is taken
            where it is larger than two tiles; by default noise.
        runtime: where to run.
        threads: CPU threads; None for all cores.
        max_memory: bytes that the process may hold, a number or like `2GB`.
        rebuild: build engines where those of the plan are missing or for another device.

    Raises:
        PlanError: a damaged plan, or one without a proof.
        ParityError: something differs by more than its tolerance. Where tiling is not exact, that
            is what the export measured on its own picture; another image's figure is only told.
        EngineError: engines compute something else than the graphs.
    """
    members = list(plan.manifest.digests)
    for member in members:
        plan.read(member)
    samples, proof = stored_samples(plan), plan.manifest.proof
    assert proof is not None  # noqa: S101  (stored_samples has checked)
    with Upscaler(
        plan, runtime=runtime, threads=threads, max_memory=max_memory, rebuild=rebuild
    ) as up:
        plan, name = up.plan, up.runtime.name
        on_engines = isinstance(up.runtime, EngineRuntime)
        engines = check_engines(plan, up.runtime) if on_engines else None
        tolerance = proof.tolerance if engines is None else allowed_error(plan)
        cases = compare_on(up, samples, tolerance)
        tiled = tiled_on(up, tiling_image(plan, image), TILED_SCALE)
    if image is None or plan.manifest.encoder.exact:
        exact = plan.manifest.precision == Precision.FP32.value and engines is None
        check_tiled(tiled, plan.manifest.encoder.tiling, exact=exact)
    return Verification(len(members), name, cases, tiled, engines)
