"""`clit-deploy info` and `clit-deploy verify`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from clit_deploy.cli.json_document import print_document
from clit_deploy.cli.options import (
    EngineOption,
    JsonOption,
    PlanArgument,
    chosen_plan,
)
from clit_deploy.cli.running_options import RunningOptions
from clit_deploy.cli.terminal import terminal


def info(
    plan: PlanArgument = None, engine: EngineOption = None, as_json: JsonOption = False
) -> None:
    """Show what a plan holds: model, stages, precision, source, parity check, engines."""
    from clit_deploy.cli.report import describe
    from clit_deploy.plan.plan_file import Plan

    path = chosen_plan(plan, engine)
    manifest = Plan.open(path).manifest
    if as_json:
        print_document(plan=str(path), **json.loads(manifest.to_json()))
    else:
        typer.echo(describe(path, manifest))


def verify(
    plan: PlanArgument = None,
    engine: EngineOption = None,
    image: Annotated[
        Path | None,
        typer.Option(
            metavar="IMAGE", help="Compare tiled with whole on this image.", show_default="noise"
        ),
    ] = None,
    where: RunningOptions = RunningOptions(),  # noqa: B008
    as_json: JsonOption = False,
) -> None:
    """Repeat the plan's parity check on this machine, and compare tiled with whole."""
    from clit_deploy.cli.report import verification
    from clit_deploy.cli.verdicts import verified
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.quality.verify import verify_plan

    path = chosen_plan(plan, engine)
    opened = Plan.open(path)
    terminal.note(f"checking {len(opened.manifest.digests)} members of {opened.name}")
    result = verify_plan(opened, image, **vars(where))
    if as_json:
        print_document(result=result)
    else:
        typer.echo(verification(result))
        typer.echo(verified(path, opened.manifest, result))
