"""The command line: parse, call the library, print.

One file for each group of commands; heavy imports live inside the commands.
"""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from clit_deploy._version import __version__
from clit_deploy.cli import (
    build_command,
    calibrate_commands,
    doctor_command,
    export_command,
    inspect_commands,
    picture_commands,
    profile_commands,
    run_command,
    train_commands,
)
from clit_deploy.errors import ClitDeployError, error_message
from clit_deploy.system import interrupts

STOPPED = "stopped; nothing unfinished was left behind."

app = typer.Typer(
    name="clit-deploy",
    help="Export arbitrary-scale super-resolution models and run them at any scale.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Entry point: one sentence and a non-zero exit code for whatever goes wrong."""
    debug = "--debug" in sys.argv
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.WARNING,
        format="%(levelname)s: %(message)s" if debug else "clit-deploy: %(message)s",
    )
    try:
        interrupts.run(lambda: app(arguments, prog_name="clit-deploy"), _abandon)
    except ClitDeployError as error:
        _fail(error_message(error), debug)
    except interrupts.Interrupted as stop:
        _fail(STOPPED, debug, code=stop.exit_code)
    except MemoryError:
        _fail("out of memory; give --max-memory a size that the machine has.", debug)
    except OSError as error:
        where = f"{error.filename} cannot be used: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}.", debug)
    except Exception as error:  # whatever was not foreseen is one sentence too
        _fail(f"unforeseen {type(error).__name__}: {error}. --debug shows where.", debug)


def _abandon() -> None:
    """The last words where the work did not stop in time; a progress bar may hide the cursor."""
    shown = "\r\x1b[K\x1b[?25h" if sys.stderr.isatty() else ""
    sys.stderr.write(f"{shown}clit-deploy: {STOPPED}\n")
    sys.stderr.flush()


def _fail(message: str, debug: bool, code: int = 1) -> None:
    if debug:
        logging.getLogger(__name__).exception("traceback of the error below")
    sys.stdout.flush()
    typer.echo(f"clit-deploy: {message}", err=True)
    sys.exit(code)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"clit-deploy {__version__}")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Log every step, and show tracebacks.")
    ] = False,
) -> None:
    """Export arbitrary-scale super-resolution models and run them at any scale."""


COMMANDS = (
    export_command.export,
    calibrate_commands.calibrate,
    build_command.build,
    run_command.run,
    inspect_commands.info,
    inspect_commands.verify,
    doctor_command.doctor,
    calibrate_commands.compare,
    picture_commands.warp,
    picture_commands.attention,
    train_commands.train,
    train_commands.evaluate,
    profile_commands.profile,
    profile_commands.profile_diff,
)
for command in COMMANDS:
    app.command()(command)
