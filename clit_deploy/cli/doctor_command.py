"""`clit-deploy doctor`."""

from __future__ import annotations

import dataclasses
import json

import typer

from clit_deploy.cli.options import JsonOption

MARKS = {"good": "  ", "absent": "- ", "fault": "! "}


def doctor(as_json: JsonOption = False) -> None:
    """Show what this machine has to run plans with, and repairs for what is broken."""
    from clit_deploy.tasks.doctor import examine

    findings = examine()
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=1))
    else:
        for finding in findings:
            typer.echo(f"{MARKS[finding.state]}{finding.name:<13} {finding.found}")
            if finding.repair:
                typer.echo(f"{'':15} {finding.repair}")
    if any(finding.state == "fault" for finding in findings):
        raise typer.Exit(1)
