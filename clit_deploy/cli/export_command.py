"""`clit-deploy export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clit_deploy.cli.build_command import CapabilityOption, WorkspaceOption, build_and_report
from clit_deploy.cli.options import CalibrationImagesOption, ForceOption, MaxDropOption
from clit_deploy.cli.step_totals import EXPORT_STEPS, PRECISION_STEPS
from clit_deploy.cli.terminal import StepCounter
from clit_deploy.cli.typed_values import parse_capability
from clit_deploy.config import Precision, parse_bytes
from clit_deploy.engines.build import EngineLimits, refuse_qdq_format
from clit_deploy.errors import OptionError
from clit_deploy.runtimes.trt.engine_builder import BuildOptions
from clit_deploy.runtimes.trt.tensorrt_api import Flavour, load_tensorrt
from clit_deploy.system.files import check_writable


def export(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT", help="A published checkpoint (.pth).", show_default=False
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The result.",
            show_default="CHECKPOINT.plan or CHECKPOINT-PRECISION.plan",
        ),
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="Number type of the graphs.")
    ] = Precision.FP32,
    half_weights: Annotated[
        bool, typer.Option("--half-weights", help="Store the weights as float16: half the size.")
    ] = False,
    runtime: Annotated[
        Flavour | None,
        typer.Option("--runtime", help="Build engines for this library, too; see 'build'."),
    ] = None,
    compute_capability: CapabilityOption = None,
    workspace: WorkspaceOption = None,
    images: CalibrationImagesOption = None,
    max_drop: MaxDropOption = None,
    force: ForceOption = False,
) -> None:
    """Convert a checkpoint into a plan, and check that both compute the same."""
    from clit_deploy.export.checkpoint_export import default_plan, export_checkpoint

    if (compute_capability or workspace) and runtime is None:
        raise OptionError(
            "--compute-capability and --workspace are for building engines; add --runtime."
        )
    capabilities = tuple(parse_capability(text) for text in compute_capability or ())
    options = BuildOptions(capabilities, parse_bytes(workspace) if workspace else None)
    if runtime is not None:
        load_tensorrt(runtime)  # before the work begins
        refuse_qdq_format(precision.value, "The plan")
    output = output or default_plan(checkpoint, precision)
    check_writable(output, force=force)
    path = export_checkpoint(
        checkpoint,
        output,
        precision=precision,
        half_weights=half_weights,
        calibration=images,
        max_drop=max_drop,
        progress=StepCounter(EXPORT_STEPS + PRECISION_STEPS[precision]),
    )
    from clit_deploy.cli.report import parity_lines, quantization_lines
    from clit_deploy.cli.verdicts import exported
    from clit_deploy.plan.plan_file import Plan

    manifest = Plan.open(path).manifest
    typer.echo(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    for line in (*quantization_lines(manifest), *parity_lines(manifest)):
        typer.echo(line)
    if runtime is None:
        typer.echo(exported(path, manifest))
    else:
        build_and_report(path, runtime, options, EngineLimits())
