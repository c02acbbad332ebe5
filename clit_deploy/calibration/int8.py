"""Float plan -> INT8 plan: sample, find ranges, search, measure, prove, write."""

from __future__ import annotations

import errno
import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from clit_deploy.calibration.settings import Settings
from clit_deploy.config import Precision, RuntimeName
from clit_deploy.errors import CalibrationError, OutputError
from clit_deploy.plan.manifest import NodeDrop, Quantization
from clit_deploy.plan.plan_file import Plan
from clit_deploy.runtimes.ort.ort_runtime import open_runtime
from clit_deploy.system.extras import optional_imports
from clit_deploy.system.files import check_writable

with optional_imports("Calibration", "calibrate"):
    import onnx

    from clit_deploy.calibration.calibration_images import gather
    from clit_deploy.calibration.drop_evaluator import DropEvaluator
    from clit_deploy.calibration.fp16 import fp16_plan
    from clit_deploy.calibration.int8_parity import with_int8_parity
    from clit_deploy.calibration.recipe import find_recipe
    from clit_deploy.calibration.samples import record
    from clit_deploy.calibration.search import sensitivities, smallest_float_set
    from clit_deploy.passes.fp16_weights import store_fp16_weights
    from clit_deploy.passes.qdq import int8_products
    from clit_deploy.passes.u8s8 import to_u8s8
    from clit_deploy.runtimes.wrappers import CachingRuntime

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from clit_deploy.calibration.calibration_images import CalibrationImages
    from clit_deploy.calibration.recipe import Finalize
    from clit_deploy.calibration.samples import Reservoir

log = logging.getLogger(__name__)

SEARCH_SIDE, MEASURE_SIDE = 72, 192
"""Crops of held-out pictures: small ones for each product, larger ones for the whole plan."""


def _as_it_is(model: onnx.ModelProto, ranges: Mapping[str, float]) -> onnx.ModelProto:  # noqa: ARG001
    return model


QDQ_FORMATS: dict[Precision, Finalize] = {Precision.INT8: to_u8s8, Precision.INT8_FP16: _as_it_is}
"""The last pass over each graph that holds INT8 products. What `quantise` makes is the form that
TensorRT wants already."""


def calibrate_plan(
    plan: str | Path,
    target: str | Path,
    images: str | Path | Sequence[Path] | None = None,
    *,
    precision: str = "int8",
    max_drop: float | None = None,
    method: str = "minmax",
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Make an INT8 plan from a float one; needs no torch.

    Nothing is kept between runs: one that was interrupted starts clean.

    Args:
        plan: the float plan.
        target: where to write; an existing plan is replaced.
        images: a folder of photographs, or photographs; None for those of the package.
        precision: `int8` for processors, `int8-fp16` for TensorRT.
        max_drop: dB of luminance PSNR on held-out pictures that may be lost at x2, x4 and x12, by
            default 0.05.
        method: how ranges are chosen: `minmax`, `percentile` or `entropy`.
        seed: of the samples.
        progress: is told what is being done.

    Returns: the INT8 plan's path.

    Raises:
        MissingFileError, PlanError: the plan or the folder cannot be read.
        OptionError: a setting is unknown or out of range.
        CalibrationError: the plan is INT8 already, or the pictures cannot be used.
        AccuracyError: the budget cannot be met; nothing is written.
        ParityError: FP16 around INT8 costs too much; nothing is written.
    """
    settings = Settings.parse(images, precision, max_drop, method, seed)
    return calibrate_with(Path(plan), Path(target), settings, progress)


def calibrate_with(
    plan: Path, target: Path, settings: Settings, progress: Callable[[str], None] | None = None
) -> Path:
    """The same with settings that are checked already."""
    check_writable(target, force=True)
    if target.exists() and plan.exists() and target.samefile(plan):
        raise OutputError(errno.EEXIST, f"{target} is the float plan itself; name another file.")
    return quantise_plan(Plan.open(plan), settings, progress).save(target)


def quantise_plan(
    plan: Plan, settings: Settings, progress: Callable[[str], None] | None = None
) -> Plan:
    """The same in memory; see `calibrate_plan`. Engines of the float plan are left behind."""
    if plan.manifest.precision != Precision.FP32:
        raise CalibrationError(
            f"{plan.name} is {plan.manifest.precision} already; calibrate the fp32 plan it was "
            "made from."
        )
    report = progress or (lambda step: log.info("%s", step))
    bare = plan.without_engines()
    found, made = _searched(bare, settings, report)
    report("proving the INT8 plan")
    made = with_int8_parity(_narrowed(made).replaced({}, quantization=found), bare)
    return fp16_plan(made, report) if settings.precision is Precision.INT8_FP16 else made


def _searched(
    plan: Plan, settings: Settings, report: Callable[[str], None]
) -> tuple[Quantization, Plan]:
    """Sample, find ranges, measure, and let stay float what has to."""
    pictures = gather(settings.images)
    runtime = open_runtime(RuntimeName.CPU)
    shared = CachingRuntime(runtime, plan)
    try:
        report(f"sampling {len(pictures.seen)} of {pictures.description}")
        reservoirs = record(plan, runtime, pictures.seen, settings.seed)
        _warn_of_unseen(plan, reservoirs)
        report(f"finding ranges ({settings.method.value})")
        recipe = find_recipe(plan, reservoirs, settings.method, QDQ_FORMATS[settings.precision])
        report(f"measuring what each of {len(recipe.nodes)} products costs")
        small = DropEvaluator(plan, shared, pictures.held_out, SEARCH_SIDE)
        costs = sensitivities(plan, recipe, small)
        report(f"measuring the whole on {len(pictures.held_out)} held-out pictures")
        large = DropEvaluator(plan, shared, pictures.held_out, MEASURE_SIDE)
        made, kept, drops = smallest_float_set(plan, recipe, large, costs, settings.budget)
    finally:
        shared.close()
        runtime.close()
    found = Quantization(
        method=settings.method.value,
        pictures=f"{pictures.description}, {len(pictures.held_out)} of them held out",
        digest=_digest(pictures, reservoirs),
        batches=sum(len(reservoir.batches()) for reservoir in reservoirs.values()),
        max_drop=settings.budget,
        drops=tuple(drops),
        counts=_counts(made, list(recipe.graphs)),
        nodes=tuple(NodeDrop(*node, drop, node in kept) for node, drop in costs.items()),
    )
    return found, made


def _warn_of_unseen(plan: Plan, reservoirs: Mapping[str, Reservoir]) -> None:
    for number, stage in enumerate(plan.manifest.stages, 1):
        if stage.decode not in reservoirs:
            log.warning("no scale of the samples reaches stage %d; it stays float", number)


def _narrowed(plan: Plan) -> Plan:
    """What stays float, stored as float16 where the float plan stores it so."""
    if not plan.manifest.half_weights:
        return plan
    graphs = [name for name in plan.manifest.digests if name.endswith(".onnx")]
    halved = {
        name: store_fp16_weights(onnx.load_model_from_string(plan.read(name))) for name in graphs
    }
    return plan.replaced(
        {name: model.SerializeToString(deterministic=True) for name, model in halved.items()}
    )


def _digest(pictures: CalibrationImages, reservoirs: dict[str, Reservoir]) -> str:
    parts = [pictures.digest, *(reservoirs[name].digest() for name in sorted(reservoirs))]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def _counts(plan: Plan, members: list[str]) -> dict[str, int]:
    models = {name: onnx.load_model_from_string(plan.read(name)) for name in members}
    return {name: len(int8_products(model)) for name, model in models.items()}
