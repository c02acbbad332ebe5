"""`clit-deploy export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clit_deploy.cli.build_command import CapabilityOption, WorkspaceOption, build_and_tell
from clit_deploy.cli.options import MaxDropOption, parse_capability
from clit_deploy.config import Precision, parse_bytes
from clit_deploy.engines.build import EngineLimits, refuse_qdq_format
from clit_deploy.errors import OptionError
from clit_deploy.runtimes.trt.engine_builder import BuildOptions
from clit_deploy.runtimes.trt.tensorrt_api import Flavour, load_tensorrt
from clit_deploy.system.files import check_writable


def export(
    checkpoint: Annotated[Path, typer.Argument(help="A published checkpoint (.pth).")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The plan.",
            show_default="CHECKPOINT.plan or CHECKPOINT-PRECISION.plan",
        ),
    ] = None,
    precision: Annotated[Precision, typer.Option(help="Type of the graphs.")] = Precision.FP32,
    half_weights: Annotated[
        bool, typer.Option("--half-weights", help="Store weights as float16: half the file.")
    ] = False,
    runtime: Annotated[
        Flavour | None, typer.Option(help="Build engines for it as well, as 'build' does.")
    ] = None,
    compute_capability: CapabilityOption = None,
    workspace: WorkspaceOption = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Photographs to calibrate INT8 with.", show_default="the package's"),
    ] = None,
    max_drop: MaxDropOption = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing plan.")] = False,
) -> None:
    """Turn a checkpoint into a plan, and prove that it computes the same."""
    from clit_deploy.export.checkpoint_export import default_plan, export_checkpoint

    if (compute_capability or workspace) and runtime is None:
        raise OptionError("--compute-capability and --workspace are for engines; name a --runtime.")
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
        calibration=calibration,
        max_drop=max_drop,
        progress=lambda step: typer.echo(f"  {step}", err=True),
    )
    from clit_deploy.cli.report import proof_lines, quantization_lines
    from clit_deploy.plan.plan_file import Plan

    typer.echo(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    manifest = Plan.open(path).manifest
    for line in (*quantization_lines(manifest), *proof_lines(manifest)):
        typer.echo(line)
    if runtime is not None:
        build_and_tell(path, runtime, options, EngineLimits())
