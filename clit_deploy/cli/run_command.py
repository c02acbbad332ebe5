"""`clit-deploy run`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from clit_deploy.cli.options import (
    DefaultEngineOption,
    ForceOption,
    JsonOption,
    MemoryOption,
    ProgressBar,
    RebuildOption,
    RuntimeOption,
    ThreadsOption,
    parse_size,
)
from clit_deploy.config import RuntimeName
from clit_deploy.system.files import check_file


def run(
    images: Annotated[list[Path], typer.Argument(help="Images to upscale.", show_default=False)],
    engine: DefaultEngineOption = None,
    scale: Annotated[float | None, typer.Option(help="Factor of both sides, 1 or more.")] = None,
    size: Annotated[str | None, typer.Option(help="Output size, WIDTHxHEIGHT.")] = None,
    width: Annotated[int | None, typer.Option(help="Output width; keeps the aspect.")] = None,
    height: Annotated[int | None, typer.Option(help="Output height; keeps the aspect.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Output file, or a folder.", show_default="beside the image"
        ),
    ] = None,
    max_memory: MemoryOption = None,
    runtime: RuntimeOption = RuntimeName.AUTO,
    rebuild: RebuildOption = True,
    threads: ThreadsOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Upscale images with a plan."""
    from clit_deploy.tasks.upscale_file import OutputSize, targets, upscale_file
    from clit_deploy.upscaler import load

    wish = OutputSize(scale, parse_size(size), width, height)
    wish.check()
    for image in images:
        check_file(image, "image file")
    outputs = targets(images, output, wish, force=force)
    outcomes: list[dict[str, Any]] = []
    try:
        with load(
            engine,
            runtime=runtime,
            threads=threads,
            max_memory=max_memory,
            rebuild=rebuild,
        ) as up:
            for image, target in zip(images, outputs, strict=True):
                with ProgressBar(image.name) as progress:
                    outcome = upscale_file(up, image, target, wish, force=force, progress=progress)
                outcomes.append({**dataclasses.asdict(outcome), "runtime": up.runtime.name})
                if not as_json:
                    wide, high, took = outcome.size[1], outcome.size[0], outcome.seconds
                    typer.echo(f"{target}  {wide}x{high}  {took:.1f} s  {up.runtime.name}")
    finally:
        if as_json:  # also what was finished before something went wrong
            typer.echo(json.dumps(outcomes, indent=1))
