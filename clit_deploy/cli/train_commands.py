"""`clit-deploy train` and `clit-deploy evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clit_deploy.cli.json_document import print_document
from clit_deploy.cli.options import (
    DefaultEngineOption,
    ImagesOption,
    JsonOption,
    MemoryOption,
    RebuildOption,
    RuntimeOption,
    ThreadsOption,
    scale_option,
)
from clit_deploy.cli.terminal import ProgressBar, terminal
from clit_deploy.cli.typed_values import all_scales, option_parser, parse_whole
from clit_deploy.cli.workload import count, image_pixels, megapixels
from clit_deploy.config import RuntimeName
from clit_deploy.errors import MissingDependencyError
from clit_deploy.images.image_files import images_in
from clit_deploy.system.extras import install_command

SCALES = "2,3,4,6,12"


def train(
    config: Annotated[
        Path,
        typer.Argument(metavar="CONFIG", help="What to train, a TOML file.", show_default=False),
    ],
    images: ImagesOption,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="The result. A run that was stopped goes on where it was.",
            show_default=False,
        ),
    ],
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu, cuda or auto.")] = "auto",
) -> None:
    """Train a cascade stage by stage."""
    from clit_deploy.cli.verdicts import trained

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
    terminal.note(f"{count(len(wanted.phases), 'phase')}, {total:,} steps")
    with ProgressBar(f"{config.stem}, {total:,} steps") as bar:

        def progress(report: dict[str, float]) -> None:
            if bar:
                bar((before[int(report["phase"]) - 1] + report["step"]) / total)
            elif report["step"] % wanted.interval == 0:  # no terminal: a line now and then
                terminal.note(
                    "phase {phase:.0f}  step {step:.0f} of {steps:.0f}  loss {loss:.4f}  "
                    "{seconds:.0f} s left in this phase".format(**report)
                )

        path = train_model(wanted, images, output, device=device, progress=progress)
    typer.echo(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    typer.echo(f"log: {output / 'log.csv'}, plot: {output / 'log.png'}")
    typer.echo(trained(path))


def evaluate(
    images: ImagesOption,
    engine: DefaultEngineOption = None,
    scale: Annotated[list[str] | None, scale_option(SCALES)] = None,
    border: Annotated[
        int | None,
        typer.Option(
            parser=option_parser(parse_whole),
            metavar="PIXELS",
            help="Pixels at the edges that do not count.",
            show_default="the scale",
        ),
    ] = None,
    rgb: Annotated[
        bool, typer.Option("--rgb", help="Compare all three colors, not luminance.")
    ] = False,
    runtime: RuntimeOption = RuntimeName.AUTO,
    threads: ThreadsOption = None,
    max_memory: MemoryOption = None,
    rebuild: RebuildOption = True,
    as_json: JsonOption = False,
) -> None:
    """Measure PSNR and SSIM of a plan on high-resolution images, with bicubic beside it."""
    from clit_deploy.cli.report import score_table
    from clit_deploy.cli.verdicts import evaluated
    from clit_deploy.quality.evaluate import evaluate as score_all
    from clit_deploy.upscaler import load

    wanted, found = all_scales(scale, SCALES), images_in(images)
    work = f"{count(len(found), 'image')}, {count(len(wanted), 'scale')}"
    terminal.note(f"{work}: {megapixels(len(wanted) * image_pixels(found))}")
    with (
        load(
            engine, runtime=runtime, threads=threads, max_memory=max_memory, rebuild=rebuild
        ) as up,
        ProgressBar(work) as progress,
    ):
        scores = score_all(up, images, wanted, border=border, luminance=not rgb, progress=progress)
        name = up.runtime.name
    if as_json:
        names = [str(path) for path in images]
        print_document(images=names, runtime=name, scores=scores)
        return
    data = ", ".join(path.name for path in images[:3])
    typer.echo(f"{data}: {count(len(found), 'image')}, {'RGB' if rgb else 'Y'}, {name}")
    for line in score_table(scores):
        typer.echo(line)
    typer.echo(evaluated(scores, engine))
