"""`clit-deploy doctor`."""

from __future__ import annotations

import typer

from clit_deploy.cli.exit_codes import ExitCode
from clit_deploy.cli.json_document import print_document
from clit_deploy.cli.options import JsonOption

MARKS = {"good": "  ", "absent": "- ", "fault": "! "}


def doctor(as_json: JsonOption = False) -> None:
    """Check what this machine has to run plans with, and say how to repair what is broken."""
    from clit_deploy.tasks.doctor import examine

    findings = examine()
    if as_json:
        print_document(findings=findings)
    else:
        for finding in findings:
            typer.echo(f"{MARKS[finding.state]}{finding.name:<13} {finding.found}")
            if finding.repair:
                typer.echo(f"{'':15} {finding.repair}")
    if any(finding.state == "fault" for finding in findings):
        raise typer.Exit(ExitCode.ERROR)
