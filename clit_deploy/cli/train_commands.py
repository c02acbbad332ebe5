"""`clit-deploy train` and `clit-deploy evaluate`."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from clit_deploy.cli.options import (
    DefaultEngineOption,
    JsonOption,
    MemoryOption,
    ProgressBar,
    RuntimeOption,
    ThreadsOption,
    parse_scales,
)
from clit_deploy.config import RuntimeName
from clit_deploy.errors import MissingDependencyError
from clit_deploy.system.extras import install_command


def train(
    recipe: Annotated[Path, typer.Argument(help="What to train, a TOML file.")],
    data: Annotated[Path, typer.Option("--data", help="A folder of pictures.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The run's folder.")],
    seconds: Annotated[
        float | None,
        typer.Option(min=1, help="End after so much training.", show_default="the recipe's"),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the folder, if there is one.")
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="float32, bfloat16, or auto: bfloat16 where it is faster.")
    ] = "auto",
    batch: Annotated[
        int | None, typer.Option(min=1, help="Crops in a step.", show_default="the recipe's")
    ] = None,
    threads: ThreadsOption = None,
    figure: Annotated[
        bool, typer.Option("--figure", help="Draw log.png at each interval (matplotlib).")
    ] = False,
) -> None:
    """Train a model by a recipe; a run that was stopped goes on with --resume."""
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
    if batch:
        wanted = dataclasses.replace(wanted, batch=batch)
    with ProgressBar(recipe.stem) as bar:

        def progress(report: Report) -> None:
            if report.line:
                (bar.print if bar else partial(typer.echo, err=True))(report.line)
            if bar:
                loss = "" if report.loss is None else f"  loss {report.loss:.4f}"
                scores = "".join(f"  {k} {v:.2f}" for k, v in report.decibels.items())
                bar(report.fraction, f"{recipe.stem}{loss}{scores}{' dB' * bool(scores)}")

        path = train_model(
            wanted,
            data,
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


def evaluate(
    data: Annotated[Path, typer.Option("--data", help="A folder of high-resolution pictures.")],
    engine: DefaultEngineOption = None,
    scales: Annotated[str, typer.Option(help="Scales, like 2,3,4.")] = "2,3,4,6,12",
    border: Annotated[
        int | None,
        typer.Option(min=0, help="Pixels left out at the edges.", show_default="the scale"),
    ] = None,
    rgb: Annotated[bool, typer.Option("--rgb", help="Compare all colours, not luminance.")] = False,
    max_memory: MemoryOption = None,
    runtime: RuntimeOption = RuntimeName.AUTO,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a plan on pictures: PSNR and SSIM, with bicubic beside it."""
    from clit_deploy.cli.report import score_table
    from clit_deploy.quality.evaluate import evaluate as score_all
    from clit_deploy.upscaler import load

    wanted = parse_scales(scales)
    with (
        load(engine, runtime=runtime, threads=threads, max_memory=max_memory) as up,
        ProgressBar(data.name) as progress,
    ):
        scores = score_all(up, data, wanted, border=border, luminance=not rgb, progress=progress)
        name = up.runtime.name
    if as_json:
        rows = [dataclasses.asdict(score) for score in scores]
        typer.echo(json.dumps({"data": str(data), "runtime": name, "scores": rows}, indent=1))
        return
    typer.echo(
        f"{data.name}, {len(scores) // len(wanted)} pictures, {'RGB' if rgb else 'Y'}, {name}"
    )
    for line in score_table(scores):
        typer.echo(line)
