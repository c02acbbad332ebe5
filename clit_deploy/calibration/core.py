"""Float plan -> INT8 plan: sample, find ranges, search, measure, prove, write."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING

from clit_deploy.bundle import Plan
from clit_deploy.config import Precision, RuntimeName
from clit_deploy.errors import CalibrationError, MissingDependencyError, OutputError, PlanError
from clit_deploy.extras import install_command
from clit_deploy.files import check_writable
from clit_deploy.images import to_bytes
from clit_deploy.manifest import NodeDrop, Proof, Quantization
from clit_deploy.runtimes.ort import open_runtime
from clit_deploy.upscaler import Upscaler
from clit_deploy.verify import (
    TILED_SCALE,
    ProofSample,
    compare,
    discs,
    pack_samples,
    tiled_against_whole,
    tiling_picture,
)

try:
    import onnx

    from clit_deploy.calibration.cpu_form import cpu_form
    from clit_deploy.calibration.pictures import gather
    from clit_deploy.calibration.qdq import int8_products
    from clit_deploy.calibration.ranges import Method
    from clit_deploy.calibration.recipe import THINNEST, find_recipe
    from clit_deploy.calibration.render import CachingRuntime
    from clit_deploy.calibration.samples import record
    from clit_deploy.calibration.search import sensitivities, smallest_float_set
    from clit_deploy.calibration.trial import Trial
except ModuleNotFoundError as error:
    raise MissingDependencyError(
        f"Calibration needs {error.name}, which is not installed; "
        f"install it with {install_command('calibrate')}."
    ) from error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from clit_deploy.calibration.pictures import Pictures
    from clit_deploy.calibration.recipe import Finish
    from clit_deploy.calibration.samples import Reservoir

log = logging.getLogger(__name__)

MAX_DROP = 0.05
"""dB that INT8 may cost; the advantage of CLIT over LIIF is 0.15."""

SEARCH_SIDE, MEASURE_SIDE = 72, 192
"""Crops of held-out pictures: small ones for each product, larger ones for the whole plan."""

PROOF_SIZE = (24, 28)
PROOF_SLACK = 2.0
"""How many times the error that was measured here another machine may show."""


def calibrate_plan(
    plan: str | Path,
    target: str | Path,
    images: str | Path | None = None,
    *,
    max_drop: float = MAX_DROP,
    method: str = "minmax",
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Make an INT8 plan from a float one; needs no torch.

    Nothing is kept between runs: one that was interrupted starts clean.

    Args:
        plan: the float plan.
        target: where to write; an existing plan is replaced.
        images: a folder of photographs; None for made pictures.
        max_drop: dB of luminance PSNR on held-out pictures that may be lost at x2, x4 and x12.
        method: how ranges are chosen: `minmax`, `percentile` or `entropy`.
        seed: of the samples.
        progress: is told what is being done.

    Returns: the INT8 plan's path.

    Raises:
        MissingFileError, PlanError: the plan or the folder cannot be read.
        CalibrationError: the plan is INT8 already, or the pictures are no use.
        AccuracyError: the budget cannot be met; nothing is written.
    """
    target = Path(target)
    check_writable(target, force=True)
    if target.exists() and Path(plan).exists() and target.samefile(plan):
        raise OutputError(errno.EEXIST, f"{target} is the float plan itself; name another file.")
    made = quantise_plan(
        Plan.open(plan), images, max_drop=max_drop, method=method, seed=seed, progress=progress
    )
    return made.save(target)


def as_it_is(model: onnx.ModelProto, ranges: Mapping[str, float]) -> onnx.ModelProto:  # noqa: ARG001
    """The last pass for TensorRT: none, for Q/DQ has its form already."""
    return model


def quantise_plan(
    plan: Plan,
    images: str | Path | None = None,
    *,
    max_drop: float = MAX_DROP,
    method: str = "minmax",
    seed: int = 0,
    finish: Finish = cpu_form,
    thinnest: int = THINNEST,
    progress: Callable[[str], None] | None = None,
) -> Plan:
    """The same in memory; see `calibrate_plan`.

    Args:
        finish: the last pass over each graph that holds INT8 products, given the graph and its
            ranges. What `quantise` makes has the form that TensorRT wants; the default rewrites
            it for ONNX Runtime's CPU kernels. Accuracy is measured on what it returns.
        thinnest: products that add up fewer numbers for a result stay float.
    """
    if plan.manifest.precision != Precision.FP32:
        raise CalibrationError(
            f"{plan.name} is {plan.manifest.precision} already; calibrate the fp32 plan it was "
            "made from."
        )
    if not max_drop > 0:
        raise CalibrationError(f"The drop allowed is {max_drop} dB; give one above 0, like 0.05.")
    chosen = _method(method)
    tell = progress or (lambda step: log.info("%s", step))
    pictures = gather(None if images is None else Path(images))
    runtime = open_runtime(RuntimeName.CPU)
    shared = CachingRuntime(runtime, plan)
    try:
        tell(f"sampling {len(pictures.seen)} of {pictures.description}")
        reservoirs = record(plan, runtime, pictures.seen, seed)
        tell(f"finding ranges ({chosen.value})")
        recipe = find_recipe(plan, reservoirs, chosen, finish, thinnest)
        tell(f"measuring what each of {len(recipe.nodes)} products costs")
        small = Trial(plan, shared, pictures.held_out, SEARCH_SIDE)
        costs = sensitivities(plan, recipe, small)
        tell(f"measuring the whole on {len(pictures.held_out)} held-out pictures")
        large = Trial(plan, shared, pictures.held_out, MEASURE_SIDE)
        made, kept, drops = smallest_float_set(plan, recipe, large, costs, max_drop)
    finally:
        shared.close()
        runtime.close()
    found = Quantization(
        method=chosen.value,
        pictures=f"{pictures.description}, {len(pictures.held_out)} of them held out",
        digest=_digest(pictures, reservoirs),
        batches=sum(len(reservoir.batches()) for reservoir in reservoirs.values()),
        max_drop=max_drop,
        drops=tuple(drops),
        counts=_counts(made, list(recipe.graphs)),
        nodes=tuple(NodeDrop(*node, drop, node in kept) for node, drop in costs.items()),
    )
    tell("proving the INT8 plan")
    return _proved(made.replaced({}, quantization=found), plan)


def _method(name: str) -> Method:
    try:
        return Method(name)
    except ValueError:
        known = ", ".join(member.value for member in Method)
        raise CalibrationError(f"Unknown method {name!r}; there are {known}.") from None


def _digest(pictures: Pictures, reservoirs: dict[str, Reservoir]) -> str:
    parts = [pictures.digest, *(reservoirs[name].digest() for name in sorted(reservoirs))]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def _counts(plan: Plan, members: list[str]) -> dict[str, int]:
    models = {name: onnx.load_model_from_string(plan.read(name)) for name in members}
    return {name: len(int8_products(model)) for name, model in models.items()}


def _proved(plan: Plan, source: Plan) -> Plan:
    """The plan with a proof of its own: made pictures as the float plan enlarges them.

    The float plan's proof has noise for pictures, far outside of what photographs calibrate.
    """
    if source.manifest.proof is None:
        raise PlanError(f"{source.name} carries no proof; export the checkpoint again.")
    name = source.manifest.proof.samples
    samples = _samples(source, [case.scale for case in source.manifest.proof.cases])
    runtime, cases = compare(plan, samples, math.inf)
    tolerance = PROOF_SLACK * max(case.relative_error for case in cases)
    tiling = tiled_against_whole(plan, tiling_picture(plan), TILED_SCALE)
    return plan.replaced(
        {name: pack_samples(samples)},
        encoder=dataclasses.replace(plan.manifest.encoder, tiling=tiling),
        proof=Proof(runtime, tolerance, cases, name),
    )


def _samples(source: Plan, scales: Sequence[float]) -> list[ProofSample]:
    pictures = [to_bytes(discs(*PROOF_SIZE, seed)) for seed in range(len(scales))]
    with Upscaler(source, runtime="cpu") as up:
        return [
            ProofSample(scale, picture, up.upscale(picture, scale=scale, clip=False))
            for scale, picture in zip(scales, pictures, strict=True)
        ]
