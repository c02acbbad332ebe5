"""Checkpoint -> plan: load, build the graphs, check their parity with the model, write."""

from __future__ import annotations

import errno
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from clit_deploy._version import __version__
from clit_deploy.calibration.settings import QUANTIZED, Settings
from clit_deploy.config import Precision, member
from clit_deploy.errors import OptionError, OutputError, printable
from clit_deploy.families import FAMILIES
from clit_deploy.plan.manifest import EncoderInfo, Manifest, Source
from clit_deploy.plan.npz import pack_arrays
from clit_deploy.plan.plan_file import make_plan
from clit_deploy.system.extras import optional_imports
from clit_deploy.system.files import check_writable

with optional_imports("Export", "export"):
    import onnx
    import torch

    from clit_deploy.calibration.fp16 import fp16_plan
    from clit_deploy.calibration.int8 import quantize_plan
    from clit_deploy.export.encoder_graph import encoder_graph
    from clit_deploy.export.export_parity import with_parity
    from clit_deploy.models import Checkpoint, load_checkpoint
    from clit_deploy.models.torch_errors import named_torch_errors
    from clit_deploy.passes import clean
    from clit_deploy.passes.check_graph import check
    from clit_deploy.passes.fp16_weights import store_fp16_weights
    from clit_deploy.passes.versions import OPSET

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clit_deploy.export.family_export import FamilyExport
    from clit_deploy.plan.plan_file import Plan

log = logging.getLogger(__name__)


def export_checkpoint(
    checkpoint: str | Path,
    plan: str | Path | None = None,
    *,
    precision: str = "fp32",
    half_weights: bool = False,
    calibration: str | Path | Sequence[Path] | None = None,
    max_drop: float | None = None,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Turn a published checkpoint into a plan, and check that the plan computes the same.

    Args:
        checkpoint: a file with `{'model': {'name', 'args', 'sd'}, ...}`.
        plan: the file to write, replaced if it exists; by default the checkpoint's name with
            `.plan`, or with `-PRECISION.plan` for other precisions than FP32.
        precision: `fp32`; `fp16`; `int8`, for CPUs; `int8-fp16`, for TensorRT.
        half_weights: store weights as float16, at half the size; arithmetic stays float32.
        calibration: photographs for INT8, a folder or files; None for those of the package.
        max_drop: dB that INT8 may lose, by default 0.05; see `calibration.int8`.
        progress: called with a sentence about each step.

    Returns: the plan's path.

    Raises:
        CheckpointError, UnsupportedModelError: the checkpoint cannot be used.
        ParityError: the graphs differ from the model, or FP16 loses too much; nothing is written.
        OptionError: an option is unknown, out of range or does not fit the precision; options are
            checked before the export starts.
        MissingFileError, CalibrationError: the images for INT8 cannot be used.
        AccuracyError: INT8 loses more than allowed; nothing is written.
        OutputError: the plan cannot be written, or is the checkpoint itself.
        MemoryBudgetError: memory ran out.
    """
    checkpoint = Path(checkpoint)
    report = progress or (lambda step: log.info("%s", step))
    kind = member(Precision, precision, "precision")
    if half_weights and kind in (Precision.FP16, Precision.INT8_FP16):
        raise OptionError("FP16 plans always store FP16 weights; leave out half_weights.")
    settings = _settings(kind, calibration, max_drop)
    target = Path(plan) if plan is not None else default_plan(checkpoint, kind)
    check_writable(target, force=True)
    if target.exists() and checkpoint.exists() and target.samefile(checkpoint):
        raise OutputError(errno.EEXIST, f"{target} is the checkpoint itself; name another file.")
    report(f"reading {checkpoint.name}")
    loaded = load_checkpoint(checkpoint)
    with named_torch_errors(f"exporting {checkpoint.name}"):
        made = build_plan(loaded, report, half_weights=half_weights)
        report("checking the graphs against the PyTorch model")
        made = with_parity(made, loaded.model)
    if settings is not None:
        made = quantize_plan(made, settings, report)
    if kind is Precision.FP16:
        made = fp16_plan(made, report)
    report(f"writing {target.name}")
    return made.save(target)


def _settings(
    kind: Precision, calibration: str | Path | Sequence[Path] | None, max_drop: float | None
) -> Settings | None:
    """The settings of the calibration; None if the precision needs none."""
    if kind in QUANTIZED:
        return Settings.of(calibration, kind, max_drop)
    if calibration is not None or max_drop is not None:
        raise OptionError(
            f"Options for INT8 were given, but the precision is {kind.value}; add --precision int8."
        )
    return None


def default_plan(checkpoint: Path, precision: Precision) -> Path:
    """The checkpoint's name with `.plan`, and with the precision if it is not FP32."""
    kind = "" if precision is Precision.FP32 else f"-{precision.value}"
    return checkpoint.parent / f"{checkpoint.stem}{kind}.plan"


def build_plan(
    loaded: Checkpoint,
    report: Callable[[str], None],
    *,
    half_weights: bool = False,
) -> Plan:
    """All graphs and tables of a model: an FP32 plan in memory, before its parity check."""
    model = loaded.model
    family: FamilyExport = FAMILIES[loaded.spec["name"]].part("export")(model)
    stages = tuple(family.describe(stage) for stage in range(model.stages))
    report("exporting the encoder")
    graphs = {"encoder.onnx": encoder_graph(model.encoder)}
    report(f"exporting {len(stages)} stage{'s' * (len(stages) > 1)}")
    for index, stage in enumerate(stages):
        graphs[stage.project] = family.project(index)
        graphs[stage.decode] = family.decode(index)
        graphs[stage.point] = family.point(index)
    graphs |= family.shared()
    members = {name: _bytes(graph, half_weights) for name, graph in graphs.items()}
    members["tables.npz"] = pack_arrays(family.arrays())
    channels = model.encoder.out_dim
    manifest = Manifest(
        family=loaded.spec["name"],
        hyperparameters=loaded.spec["args"],
        encoder=EncoderInfo(
            graph="encoder.onnx",
            channels=channels,
            halo=model.encoder.halo,
            bytes_per_pixel=4 * model.encoder.live_channels,
            multiple=model.encoder.multiple,
            exact=model.encoder.exact,
        ),
        stages=stages,
        decay=model.decay,
        bilinear_base=model.bilinear_base,
        tables="tables.npz",
        precision=Precision.FP32.value,
        half_weights=half_weights,
        opset=OPSET,
        source=Source(printable(loaded.name), loaded.sha256),
        versions={
            "clit-deploy": __version__,
            "torch": torch.__version__,
            "onnx": onnx.__version__,
        },
    )
    return make_plan(manifest, members)


def _bytes(model: onnx.ModelProto, half_weights: bool) -> bytes:
    model = clean(model)
    if half_weights:
        model = check(store_fp16_weights(model))
    content: bytes = model.SerializeToString(deterministic=True)
    return content
