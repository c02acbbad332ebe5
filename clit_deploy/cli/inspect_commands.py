"""`clit-deploy info` and `clit-deploy verify`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from clit_deploy.cli.options import JsonOption, PlanArgument, RebuildOption, RuntimeOption
from clit_deploy.config import RuntimeName


def info(plan: PlanArgument, as_json: JsonOption = False) -> None:
    """Show what a plan holds: model, stages, source, proof."""
    from clit_deploy.cli.report import describe
    from clit_deploy.plan.plan_file import Plan

    manifest = Plan.open(plan).manifest
    typer.echo(manifest.to_json().rstrip() if as_json else describe(plan, manifest))


def verify(
    plan: PlanArgument,
    image: Annotated[
        Path | None, typer.Option(help="Compare tiled with whole on this image.")
    ] = None,
    runtime: RuntimeOption = RuntimeName.AUTO,
    rebuild: RebuildOption = True,
    as_json: JsonOption = False,
) -> None:
    """Repeat the plan's proof on this machine, and compare tiled with whole."""
    from clit_deploy.cli.report import verification
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.quality.verify import verify_plan

    result = verify_plan(Plan.open(plan), image, runtime, rebuild=rebuild)
    typer.echo(
        json.dumps(dataclasses.asdict(result), indent=1) if as_json else verification(result)
    )
