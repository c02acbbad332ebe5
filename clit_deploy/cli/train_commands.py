"""`clit-deploy train` and `clit-deploy evaluate`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from clit_deploy.cli.json_document import print_document
from clit_deploy.cli.options import (
    DefaultEngineOption,
    ImagesOption,
    JsonOption,
    ThreadsOption,
    scale_option,
    whole_option,
)
from clit_deploy.cli.running_options import RunningOptions
from clit_deploy.cli.terminal import ProgressBar, terminal
from clit_deploy.cli.typed_values import all_scales
from clit_deploy.cli.workload import count, image_pixels, megapixels
from clit_deploy.errors import MissingDependencyError
from clit_deploy.images.image_folders import images_in
from clit_deploy.system.extras import install_command

SCALES = "2,3,4,6,12"


def train(
    recipe: Annotated[
        Path,
        typer.Argument(metavar="RECIPE", help="What to train, a TOML file.", show_default=False),
    ],
    images: ImagesOption,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="The run's folder.", show_default=False
        ),
    ],
    seconds: Annotated[
        int | None,
        whole_option(
            metavar="SECONDS", help="End after so much training.", show_default="the recipe's"
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in the folder, if there is one.")
    ] = False,
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu, cuda or auto.")] = "auto",
    precision: Annotated[
        str,
        typer.Option(metavar="NAME", help="float32, bfloat16, or auto: the faster of the two."),
    ] = "auto",
    batch: Annotated[
        int | None,
        whole_option(metavar="CROPS", help="Crops in a step.", show_default="the recipe's"),
    ] = None,
    threads: ThreadsOption = None,
    figure: Annotated[
        bool, typer.Option("--figure", help="Draw log.png at each interval (needs matplotlib).")
    ] = False,
) -> None:
    """Train a model by a recipe."""
    from clit_deploy.cli.verdicts import trained

    try:
        from clit_deploy.training.loop import Report
        from clit_deploy.training.loop import train as train_model
        from clit_deploy.training.training_config import read_config
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"Training needs {error.name}, which is not installed; "
            f"install it with {install_command('train')}."
        ) from error

    wanted = read_config(recipe)
    if batch is not None:
        wanted = dataclasses.replace(wanted, batch=batch)
    with ProgressBar(recipe.stem) as bar:

        def progress(report: Report) -> None:
            if report.line:
                terminal.note(report.line)
            if bar:
                loss = "" if report.loss is None else f"  loss {report.loss:.4f}"
                scores = "".join(f"  {k} {v:.2f}" for k, v in report.decibels.items())
                bar(report.fraction, f"{recipe.stem}{loss}{scores}{' dB' * bool(scores)}")

        path = train_model(
            wanted,
            images,
            output,
            seconds=seconds,
            resume=resume,
            device=device,
            precision=precision,
            threads=threads,
            figure=figure,
            progress=progress,
        )
    typer.echo(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    plot = f", plot: {output / 'log.png'}" if figure else ""
    typer.echo(f"log: {output / 'log.csv'}{plot}")
    typer.echo(trained(path))


def evaluate(
    images: ImagesOption,
    engine: DefaultEngineOption = None,
    scale: Annotated[list[str] | None, scale_option(SCALES)] = None,
    border: Annotated[
        int | None,
        whole_option(
            metavar="PIXELS",
            help="Pixels at the edges that do not count.",
            show_default="the scale",
        ),
    ] = None,
    rgb: Annotated[
        bool, typer.Option("--rgb", help="Compare all three colors, not luminance.")
    ] = False,
    jpeg: Annotated[
        int | None,
        whole_option(
            metavar="QUALITY",
            help="Compress the shrunk images with this JPEG quality first.",
            show_default="no compression",
        ),
    ] = None,
    where: RunningOptions = RunningOptions(),  # noqa: B008
    as_json: JsonOption = False,
) -> None:
    """Measure PSNR and SSIM of a plan on high-resolution images, with bicubic beside it."""
    from clit_deploy.cli.report import score_table
    from clit_deploy.cli.verdicts import evaluated
    from clit_deploy.quality.evaluate import evaluate as score_all

    wanted, found = all_scales(scale, SCALES), images_in(images)
    work = f"{count(len(found), 'image')}, {count(len(wanted), 'scale')}"
    terminal.note(f"{work}: {megapixels(len(wanted) * image_pixels(found))}")
    with (
        where.load(engine) as up,
        ProgressBar(work) as progress,
    ):
        scores = score_all(
            up,
            images,
            wanted,
            border=border,
            luminance=not rgb,
            jpeg=jpeg,
            progress=progress,
        )
        name = up.runtime.name
    if as_json:
        names = [str(path) for path in images]
        print_document(images=names, runtime=name, scores=scores)
        return
    data = ", ".join(path.name for path in images[:3])
    shown = f"{'RGB' if rgb else 'Y'}{f', JPEG {jpeg}' if jpeg else ''}"
    typer.echo(f"{data}: {count(len(found), 'image')}, {shown}, {name}")
    for line in score_table(scores):
        typer.echo(line)
    typer.echo(evaluated(scores, engine))
