"""`clit-deploy calibrate` and `clit-deploy compare`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from clit_deploy.calibration.settings import Method, Settings
from clit_deploy.cli.options import (
    ForceOption,
    JsonOption,
    MaxDropOption,
    PlanArgument,
    ProgressBar,
    RuntimeOption,
    ThreadsOption,
    parse_scales,
)
from clit_deploy.config import Precision, RuntimeName
from clit_deploy.images.image_formats import check_format
from clit_deploy.system.files import check_writable


def calibrate(
    plan: PlanArgument,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The INT8 plan.", show_default="PLAN-PRECISION.plan"),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", help="A folder of photographs.", show_default="the package's"),
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="int8 for processors, int8-fp16 for TensorRT.")
    ] = Precision.INT8,
    max_drop: MaxDropOption = None,
    method: Annotated[Method, typer.Option(help="How ranges are chosen.")] = Method.MINMAX,
    seed: Annotated[int, typer.Option(min=0, help="Decides which samples are kept.")] = 0,
    force: ForceOption = False,
) -> None:
    """Make an INT8 plan from a float plan, and measure what that costs."""
    from clit_deploy.calibration.int8 import calibrate_with
    from clit_deploy.cli.report import quantization_lines
    from clit_deploy.plan.plan_file import Plan

    settings = Settings.parse(images, precision, max_drop, method, seed)  # refused before names
    output = output or plan.with_name(f"{plan.stem}-{precision.value}.plan")
    check_writable(output, force=force)
    path = calibrate_with(
        plan, output, settings, progress=lambda step: typer.echo(f"  {step}", err=True)
    )
    typer.echo(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    for line in quantization_lines(Plan.open(path).manifest):
        typer.echo(line)


def compare(
    plans: Annotated[list[Path], typer.Argument(help="Plans, the first is the yardstick.")],
    data: Annotated[Path, typer.Option("--data", help="A folder of high-resolution pictures.")],
    scales: Annotated[str, typer.Option(help="Scales, like 2,4,12.")] = "2,4,12",
    figure: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A picture of the differences from the first, x10."),
    ] = None,
    runtime: RuntimeOption = RuntimeName.AUTO,
    threads: ThreadsOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare plans: dB, SSIM, milliseconds a megapixel, size, and a picture of the difference."""
    from clit_deploy.cli.report import comparison_table
    from clit_deploy.quality.compare import compare_plans, difference_figure

    wanted = parse_scales(scales)
    if figure is not None:
        check_writable(figure, force=force)
        check_format(figure, (1, 1), alpha=False)
    with ProgressBar(data.name) as progress:
        rows = compare_plans(plans, data, wanted, runtime, threads, progress)
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(row) for row in rows], indent=1))
    else:
        for line in comparison_table(rows):
            typer.echo(line)
    if figure is not None:
        name = difference_figure(plans, data, wanted[-1], figure, runtime, threads)
        typer.echo(f"{figure}  {name} at x{wanted[-1]:g}, then differences x10", err=as_json)
