"""`clit-deploy calibrate` and `clit-deploy compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clit_deploy.calibration.settings import Settings
from clit_deploy.cli.json_document import print_document
from clit_deploy.cli.options import (
    CalibrationImagesOption,
    EngineOption,
    ForceOption,
    ImagesOption,
    JsonOption,
    MaxDropOption,
    PlanArgument,
    beside,
    chosen_plan,
    plans_argument,
    plans_option,
    scale_option,
    whole_option,
)
from clit_deploy.cli.running_options import RunningOptions
from clit_deploy.cli.step_totals import PRECISION_STEPS
from clit_deploy.cli.terminal import ProgressBar, StepCounter, terminal
from clit_deploy.cli.typed_values import all_scales
from clit_deploy.cli.workload import count, image_pixels, megapixels
from clit_deploy.config import Precision
from clit_deploy.errors import OptionError
from clit_deploy.images.image_folders import images_in
from clit_deploy.images.image_formats import check_format
from clit_deploy.system.files import check_writable


def calibrate(
    plan: PlanArgument = None,
    engine: EngineOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The result.",
            show_default="PLAN-PRECISION.plan",
        ),
    ] = None,
    images: CalibrationImagesOption = None,
    precision: Annotated[
        Precision, typer.Option(help="int8 for CPUs, int8-fp16 for TensorRT.")
    ] = Precision.INT8,
    max_drop: MaxDropOption = None,
    seed: Annotated[
        int,
        whole_option(metavar="NUMBER", help="Selects the samples."),
    ] = 0,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make an INT8 plan from an FP32 plan, and measure the loss on held-out images.

    The loss is limited on photographs, text, line art, flat graphics and a night scene: drawings
    of the package join the images of --images.
    """
    from clit_deploy.calibration.int8 import calibrate_with
    from clit_deploy.cli.report import quantization_lines
    from clit_deploy.cli.verdicts import calibrated
    from clit_deploy.plan.plan_file import Plan

    path = chosen_plan(plan, engine)
    settings = Settings.of(images, precision, max_drop, seed)  # options before files
    output = output or beside(path, f"{path.stem}-{precision.value}.plan")
    check_writable(output, force=force)
    made = calibrate_with(path, output, settings, progress=StepCounter(PRECISION_STEPS[precision]))
    manifest = Plan.open(made).manifest
    if as_json:
        print_document(plan=str(made), quantization=manifest.quantization)
        return
    typer.echo(f"{made}  {made.stat().st_size / 1e6:.1f} MB")
    for line in quantization_lines(manifest):
        typer.echo(line)
    typer.echo(calibrated(made, path, manifest))


def compare(
    images: ImagesOption,
    plans: Annotated[list[Path] | None, plans_argument()] = None,
    engine: Annotated[list[Path] | None, plans_option()] = None,
    scale: Annotated[list[str] | None, scale_option("2,4,12")] = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            "--figure", metavar="FILE", help="A figure of the differences from the first plan, x10."
        ),
    ] = None,
    running: RunningOptions = RunningOptions(),  # noqa: B008
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare plans with the first of them: PSNR, SSIM, speed and size."""
    from clit_deploy.cli.report import comparison_table
    from clit_deploy.cli.verdicts import compared
    from clit_deploy.quality.compare import compare_plans, difference_figure

    if plans and engine:
        raise OptionError("Plans as arguments and --engine cannot be combined; use one of them.")
    chosen = plans or engine or []
    wanted = all_scales(scale, "2,4,12")
    if figure is not None:
        check_writable(figure, force=force)
        check_format(figure, (1, 1), alpha=False)
    found = images_in(images)
    work = (
        f"{count(len(chosen), 'plan')}, {count(len(found), 'image')}, {count(len(wanted), 'scale')}"
    )
    terminal.note(f"{work}: {megapixels(2 * len(chosen) * len(wanted) * image_pixels(found))}")
    with ProgressBar(work) as progress:
        rows = compare_plans(chosen, images, wanted, running.load, progress)
    name = difference_figure(chosen, images, wanted[-1], figure, running.load) if figure else None
    if as_json:
        print_document(rows=rows, figure=None if figure is None else str(figure))
        return
    for line in comparison_table(rows):
        typer.echo(line)
    if figure is not None:
        typer.echo(f"{figure}  {name} at x{wanted[-1]:g}, then differences x10")
    typer.echo(compared(rows, chosen))
