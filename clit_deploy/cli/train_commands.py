"""`clit-deploy train` and `clit-deploy evaluate`."""

from __future__ import annotations

import dataclasses
import json
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
    config: Annotated[Path, typer.Argument(help="What to train, a TOML file.")],
    data: Annotated[Path, typer.Option("--data", help="A folder of pictures.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The run's folder; an unfinished run goes on.")
    ],
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
) -> None:
    """Train a cascade stage by stage; a run that was stopped goes on where it was."""
    try:
        from clit_deploy.training.loop import train as train_model
        from clit_deploy.training.training_config import read_config
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"Training needs {error.name}, which is not installed; "
            f"install it with {install_command('train')}."
        ) from error

    wanted = read_config(config)
    total = sum(phase.steps for phase in wanted.phases)
    before = [sum(p.steps for p in wanted.phases[:k]) for k in range(len(wanted.phases))]
    with ProgressBar(config.stem) as bar:

        def progress(report: dict[str, float]) -> None:
            if bar:
                bar((before[int(report["phase"]) - 1] + report["step"]) / total)
            elif report["step"] % wanted.interval == 0:  # no terminal: a line now and then
                typer.echo(
                    "phase {phase:.0f}  step {step:.0f} of {steps:.0f}  loss {loss:.4f}  "
                    "{seconds:.0f} s left of the phase".format(**report),
                    err=True,
                )

        path = train_model(wanted, data, output, device=device, progress=progress)
    typer.echo(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    typer.echo(f"log: {output / 'log.csv'}, plot: {output / 'log.png'}")


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
