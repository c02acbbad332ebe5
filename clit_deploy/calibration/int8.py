"""Float plan -> INT8 plan: sample, find ranges, search, measure, report, write."""

from __future__ import annotations

import errno
import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from clit_deploy.calibration.settings import Settings
from clit_deploy.config import Precision, RuntimeName, member
from clit_deploy.errors import CalibrationError, OutputError
from clit_deploy.plan.manifest import NodeDrop, Quantization
from clit_deploy.plan.plan_file import Plan
from clit_deploy.runtimes.ort.ort_runtime import open_runtime
from clit_deploy.system.extras import optional_imports
from clit_deploy.system.files import check_writable

with optional_imports("Calibration", "calibrate"):
    import onnx

    from clit_deploy.calibration.calibration_images import gather
    from clit_deploy.calibration.drop_evaluator import DropEvaluator, worst_by_scale
    from clit_deploy.calibration.fp16 import fp16_plan
    from clit_deploy.calibration.int8_ranges import METHOD
    from clit_deploy.calibration.int8_report import with_int8_report
    from clit_deploy.calibration.recipe import QdqFormat, find_recipe
    from clit_deploy.calibration.samples import record
    from clit_deploy.calibration.search import sensitivities, smallest_float_set
    from clit_deploy.passes.fp16_weights import store_fp16_weights
    from clit_deploy.passes.qdq import int8_products
    from clit_deploy.passes.u8s8 import to_u8s8
    from clit_deploy.runtimes.wrappers import CachingRuntime

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from clit_deploy.calibration.calibration_images import CalibrationImages
    from clit_deploy.calibration.samples import Reservoir

log = logging.getLogger(__name__)

SEARCH_SIDE, MEASURE_SIDE = 72, 192
"""Sides of the crops of held-out images: small ones for each product, larger ones for the plan."""


def _unchanged(model: onnx.ModelProto, ranges: Mapping[str, float]) -> onnx.ModelProto:  # noqa: ARG001
    return model


QDQ_FORMATS: dict[Precision, QdqFormat] = {
    # ONNX Runtime's integer kernels process 32 or 64 terms at a time. With 16 channels to a head,
    # its products took twice as long in INT8; with 8, the whole decoder a fifth longer.
    Precision.INT8: QdqFormat(to_u8s8, thinnest=32),
    # Not measured: `build` times every graph in both forms on the device and keeps the faster.
    Precision.INT8_FP16: QdqFormat(_unchanged, thinnest=16),
}
"""Graphs with INT8 products are in TensorRT's format before the last pass."""


def calibrate_plan(
    plan: str | Path,
    target: str | Path,
    images: str | Path | Sequence[Path] | None = None,
    *,
    precision: str = "int8",
    max_drop: float | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Make an INT8 plan from a float plan; needs no torch.

    Nothing is kept between runs: an interrupted one starts again from the beginning.

    Args:
        plan: the float plan.
        target: the file to write; an existing plan is replaced.
        images: a folder of photographs, or photographs; None for those of the package. Drawings of
            the package join them: text, line art, flat graphics, night scenes.
        precision: `int8` for CPUs, `int8-fp16` for TensorRT.
        max_drop: dB of luminance PSNR that may be lost at x2, x4 and x12, on the kind of held-out
            images that loses most; by default 0.05.
        seed: decides which samples are kept.
        progress: called with a sentence about each step.

    Returns: the INT8 plan's path.

    Raises:
        MissingFileError, PlanError: the plan or the folder cannot be read.
        OptionError: a setting is unknown or out of range.
        CalibrationError: the plan is not FP32, or the images cannot be used.
        AccuracyError: INT8 loses more than allowed; nothing is written.
        ParityError: FP16 around INT8 loses too much; nothing is written.
    """
    kind = member(Precision, precision, "precision")
    settings = Settings.of(images, kind, max_drop, seed)
    return calibrate_with(Path(plan), Path(target), settings, progress)


def calibrate_with(
    plan: Path, target: Path, settings: Settings, progress: Callable[[str], None] | None = None
) -> Path:
    """The same with validated settings; see `calibrate_plan`."""
    check_writable(target, force=True)
    if target.exists() and plan.exists() and target.samefile(plan):
        raise OutputError(errno.EEXIST, f"{target} is the float plan itself; name another file.")
    return quantize_plan(Plan.open(plan), settings, progress).save(target)


def quantize_plan(
    plan: Plan, settings: Settings, progress: Callable[[str], None] | None = None
) -> Plan:
    """The same in memory; see `calibrate_plan`. The INT8 plan has no engines."""
    if plan.manifest.precision != Precision.FP32:
        raise CalibrationError(
            f"{plan.name} is already {plan.manifest.precision}; calibrate the fp32 plan that it "
            "was made from."
        )
    report = progress or (lambda step: log.info("%s", step))
    bare = plan.without_engines()
    found, made = _search(bare, settings, report)
    report("comparing the INT8 plan with the float plan")
    made = with_int8_report(_with_half_weights(made).replaced({}, quantization=found), bare)
    return fp16_plan(made, report, bare) if settings.precision is Precision.INT8_FP16 else made


def _search(
    plan: Plan, settings: Settings, report: Callable[[str], None]
) -> tuple[Quantization, Plan]:
    """Sample, find ranges, measure, and keep in float what has to stay float."""
    images = gather(settings.images)
    seen, held_out = images.seen, images.held_out
    runtime = open_runtime(RuntimeName.CPU)
    shared = CachingRuntime(runtime, plan)
    try:
        report(f"sampling {len(seen)} of {images.description}")
        reservoirs = record(plan, runtime, seen, settings.seed)
        _warn_of_unseen(plan, reservoirs)
        report("finding ranges")
        recipe = find_recipe(plan, reservoirs, QDQ_FORMATS[settings.precision])
        report(f"measuring what each of {len(recipe.nodes)} products loses")
        small = DropEvaluator(plan, shared, images.few_held_out, SEARCH_SIDE)
        costs = sensitivities(plan, recipe, small)
        report(f"measuring the whole plan on {len(held_out)} held-out images")
        large = DropEvaluator(plan, shared, held_out, MEASURE_SIDE)
        made, kept, kinds = smallest_float_set(plan, recipe, large, costs, settings.budget)
    finally:
        shared.close()
        runtime.close()
    found = Quantization(
        method=METHOD,
        pictures=f"{images.description}, {len(held_out)} of them held out",
        digest=_digest(images, reservoirs),
        batches=sum(len(reservoir.batches()) for reservoir in reservoirs.values()),
        max_drop=settings.budget,
        drops=worst_by_scale(kinds),
        counts=_counts(made, list(recipe.graphs)),
        nodes=tuple(NodeDrop(*node, drop, node in kept) for node, drop in costs.items()),
        kinds=tuple(kinds),
    )
    return found, made


def _warn_of_unseen(plan: Plan, reservoirs: Mapping[str, Reservoir]) -> None:
    for number, stage in enumerate(plan.manifest.stages, 1):
        if stage.decode not in reservoirs:
            log.warning("no sample uses stage %d, so it stays float", number)


def _with_half_weights(plan: Plan) -> Plan:
    """Store the weights that stay float as float16, if the float plan does."""
    if not plan.manifest.half_weights:
        return plan
    graphs = [name for name in plan.manifest.digests if name.endswith(".onnx")]
    halved = {
        name: store_fp16_weights(onnx.load_model_from_string(plan.read(name))) for name in graphs
    }
    return plan.replaced(
        {name: model.SerializeToString(deterministic=True) for name, model in halved.items()}
    )


def _digest(images: CalibrationImages, reservoirs: dict[str, Reservoir]) -> str:
    parts = [images.digest, *(reservoirs[name].digest() for name in sorted(reservoirs))]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def _counts(plan: Plan, members: list[str]) -> dict[str, int]:
    models = {name: onnx.load_model_from_string(plan.read(name)) for name in members}
    return {name: len(int8_products(model)) for name, model in models.items()}
