"""`clit-deploy unpack` and `clit-deploy strip`: what is in a plan, and what can be made again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clit_deploy.cli.options import (
    ChangedPlanOption,
    EngineOption,
    ForceOption,
    PlanArgument,
    chosen_plan,
    own_plan,
    whole_option,
)

TileOption = Annotated[
    int | None, whole_option("--tile", metavar="PIXELS", help="Largest side of an encoder tile.")
]
ChunkOption = Annotated[
    int | None,
    whole_option(
        "--chunk",
        metavar="NUMBER",
        help="Decoder chunk size, as a multiple of the CPU's chunk size.",
    ),
]


def unpack(
    plan: PlanArgument = None,
    engine: EngineOption = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="The result.")
    ] = Path("unpacked"),
    tile: TileOption = None,
    chunk: ChunkOption = None,
    force: ForceOption = False,
) -> None:
    """Write the graphs of a plan, their shapes, and the lines for trtexec and Polygraphy."""
    from clit_deploy.engines.build import engine_limits
    from clit_deploy.engines.unpack import unpack as unpack_plan
    from clit_deploy.plan.plan_file import Plan

    opened = Plan.open(chosen_plan(plan, engine))
    for path in unpack_plan(opened, output, engine_limits(tile, chunk), force=force):
        typer.echo(path)


def strip(
    plan: PlanArgument = None,
    engine: EngineOption = None,
    output: ChangedPlanOption = None,
    force: ForceOption = False,
) -> None:
    """Remove the engines of a plan; 'clit-deploy build' makes them again."""
    from clit_deploy.cli.report import engine_line
    from clit_deploy.engines.store import strip_engines
    from clit_deploy.plan.plan_file import Plan

    path = own_plan(chosen_plan(plan, engine), output, force=force)
    opened = Plan.open(path)
    for engines in opened.manifest.engines:
        typer.echo(f"without {engine_line(engines).split(None, 1)[1]}")
    target = strip_engines(opened, output)
    typer.echo(f"{target}  {target.stat().st_size / 1e6:.1f} MB")
