"""`clit-deploy warp` and `clit-deploy attention`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from clit_deploy.cli.options import (
    DefaultEngineOption,
    ForceOption,
    ImageArgument,
    JsonOption,
    MemoryOption,
    ProgressBar,
    RuntimeOption,
    ThreadsOption,
    parse_place,
    parse_size,
)
from clit_deploy.config import RuntimeName

OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Output file.")]


def warp(
    image: ImageArgument,
    matrix: Annotated[
        str,
        typer.Option(
            help="a,b,c,d,e,f[,g,h,1]: where the picture's points (x, y) go in the output, "
            "x' = (ax + by + c) / (gx + hy + 1), y' = (dx + ey + f) / (gx + hy + 1), in pixels "
            "from the upper left corner."
        ),
    ],
    size: Annotated[str, typer.Option(help="Output size, WIDTHxHEIGHT.")],
    output: OutputOption,
    engine: DefaultEngineOption = None,
    max_memory: MemoryOption = None,
    runtime: RuntimeOption = RuntimeName.AUTO,
    threads: ThreadsOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Turn, shear or tilt a picture: resampled straight from the network.

    A scale of 4 is the matrix 4,0,0,0,4,0. Outside the picture the output is transparent, or
    black in formats without transparency.
    """
    from clit_deploy.tasks.warp import Homography, warp_file
    from clit_deploy.upscaler import load

    way = Homography.parse(matrix)
    wanted = parse_size(size)
    assert wanted is not None  # noqa: S101  (typer demands it)
    with (
        load(engine, runtime=runtime, threads=threads, max_memory=max_memory) as up,
        ProgressBar(image.name) as progress,
    ):
        outcome = warp_file(up, image, output, way, wanted, force=force, progress=progress)
        name = up.runtime.name
    if as_json:
        typer.echo(json.dumps({**dataclasses.asdict(outcome), "runtime": name}, indent=1))
    else:
        high, wide = outcome.size
        typer.echo(f"{output}  {wide}x{high}  {outcome.seconds:.1f} s  {name}")


def attention(
    image: ImageArgument,
    at: Annotated[str, typer.Option(help="Output pixel X,Y (column, row) that looks.")],
    output: OutputOption,
    engine: DefaultEngineOption = None,
    scale: Annotated[float | None, typer.Option(help="Factor of both sides, 1 or more.")] = None,
    size: Annotated[str | None, typer.Option(help="Output size, WIDTHxHEIGHT.")] = None,
    max_memory: MemoryOption = None,
    runtime: RuntimeOption = RuntimeName.AUTO,
    threads: ThreadsOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show where one output pixel looks: the window of each head at each stage, as a figure."""
    from clit_deploy.tasks.attention_figure import attention_file
    from clit_deploy.upscaler import load

    place, wanted = parse_place(at), parse_size(size)
    with load(engine, runtime=runtime, threads=threads, max_memory=max_memory) as up:
        maps = attention_file(up, image, output, place, scale=scale, size=wanted, force=force)
        name = up.runtime.name
    if as_json:
        stages = [stage.tolist() for stage in maps]
        typer.echo(json.dumps({"output": str(output), "runtime": name, "stages": stages}))
    else:
        typer.echo(f"{output}  {len(maps)} stages of {len(maps[0])} heads  {name}")
