"""`clit-deploy warp` and `clit-deploy attention`."""

from __future__ import annotations

from typing import Annotated

import typer

from clit_deploy.cli.json_document import plain, print_document
from clit_deploy.cli.options import (
    DefaultEngineOption,
    ForceOption,
    ImageArgument,
    JsonOption,
    OutputOption,
    ScaleOption,
    SizeOption,
)
from clit_deploy.cli.running_options import RunningOptions
from clit_deploy.cli.size_options import one_size
from clit_deploy.cli.terminal import ProgressBar, terminal
from clit_deploy.cli.typed_values import parse_position, parse_size
from clit_deploy.cli.workload import megapixels
from clit_deploy.errors import OptionError


def warp(
    image: ImageArgument,
    matrix: Annotated[
        str,
        typer.Option(
            metavar="NUMBERS",
            help="a,b,c,d,e,f or a,b,c,d,e,f,g,h,1. The point (x, y) of the image goes to "
            "x' = (ax + by + c) / (gx + hy + 1), y' = (dx + ey + f) / (gx + hy + 1). Pixels are "
            "counted from the upper left corner.",
            show_default=False,
        ),
    ],
    output: OutputOption,
    size: SizeOption = None,
    engine: DefaultEngineOption = None,
    where: RunningOptions = RunningOptions(),  # noqa: B008
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Rotate, shear or tilt an image, resampled by the network itself.

    The matrix 4,0,0,0,4,0 is a scale of 4. Outside the image the output is transparent, or white
    in formats without transparency.
    """
    from clit_deploy.tasks.warp import Homography, warp_file

    way, wanted = Homography.parse(matrix), parse_size(size)
    if wanted is None:
        raise OptionError("The size of the output is missing; add --size, like --size 1920x1080.")
    about = f"{image.name}, {megapixels(wanted[0] * wanted[1])}"
    terminal.note(about)
    with (
        where.load(engine) as up,
        ProgressBar(about) as progress,
    ):
        result = warp_file(up, image, output, way, wanted, force=force, progress=progress)
        name = up.runtime.name
    if as_json:
        print_document(**plain(result), runtime=name)
    else:
        high, wide = result.size
        typer.echo(f"{output}  {wide}x{high}  {result.seconds:.1f} s  {name}")


def attention(
    image: ImageArgument,
    at: Annotated[
        str,
        typer.Option(
            metavar="X,Y", help="The output pixel, as column and row.", show_default=False
        ),
    ],
    output: OutputOption,
    engine: DefaultEngineOption = None,
    scale: ScaleOption = None,
    size: SizeOption = None,
    where: RunningOptions = RunningOptions(),  # noqa: B008
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Draw which pixels one output pixel attends to, for each head and stage (CLIT and LIT)."""
    from clit_deploy.tasks.attention_figure import attention_file

    position, wanted = parse_position(at), one_size(scale, size)
    with where.load(engine) as up:
        maps = attention_file(up, image, output, position, wanted, force=force)
        name = up.runtime.name
    if as_json:
        stages = [stage.tolist() for stage in maps]
        print_document(output=str(output), runtime=name, stages=stages)
    else:
        typer.echo(f"{output}  {len(maps)} stages of {len(maps[0])} heads  {name}")
