"""The command line: parse, call the library, print.

One file for each group of commands; heavy imports live inside the commands. `grammar` describes
the rules that all commands keep.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from clit_deploy._version import __version__
from clit_deploy.cli import (
    build_command,
    calibrate_commands,
    doctor_command,
    engine_commands,
    export_command,
    image_commands,
    inspect_commands,
    models_command,
    profile_commands,
    ray_command,
    run_command,
    train_commands,
    triton_command,
    view_command,
)
from clit_deploy.cli.exit_codes import EXIT_CODES, ExitCode
from clit_deploy.cli.failures import fail, stopped
from clit_deploy.cli.grammar import (
    MAKE,
    MEASURE,
    USE,
    Command,
    DebugOption,
    QuietOption,
    start_logging,
)
from clit_deploy.system import interrupts
from clit_deploy.system.memory_cap import cap_memory

app = typer.Typer(
    name="clit-deploy",
    help="Export arbitrary-scale super-resolution models and run them at any scale.",
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Entry point: one sentence and a non-zero exit code for whatever goes wrong."""
    arguments = sys.argv[1:] or ["--help"]
    start_logging()

    def command() -> None:
        cap_memory()
        sys.exit(app(arguments, prog_name="clit-deploy", standalone_mode=False) or ExitCode.OK)

    try:
        try:
            interrupts.run(command, _abandon)
        finally:
            interrupts.finish()
    except (Exception, interrupts.Interrupted) as error:
        fail(error, arguments)


def _abandon() -> None:
    """The last words where the work did not stop in time; a progress bar may hide the cursor."""
    shown = "\r\x1b[K\x1b[?25h" if sys.stderr.isatty() else ""
    sys.stderr.write(f"{shown}clit-deploy: {stopped()}\n")
    sys.stderr.flush()


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"clit-deploy {__version__}")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", callback=_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Export arbitrary-scale super-resolution models and run them at any scale."""


COMMANDS = (
    Command(run_command.run, USE, "run photo.png -s 4"),
    Command(ray_command.ray, USE, "ray scans -s 4 -o out --address 10.0.0.1:6379"),
    Command(view_command.view, USE, "view photo.png"),
    Command(models_command.models, USE, "models"),
    Command(
        image_commands.warp,
        USE,
        "warp photo.png --matrix 3,-1,200,1,3,0 --size 1600x1200 -o warped.png",
    ),
    Command(
        image_commands.attention,
        USE,
        "attention photo.png -e clit.plan --at 900,1200 -s 12 -o maps.png",
    ),
    Command(inspect_commands.info, USE, "info clit.plan"),
    Command(doctor_command.doctor, USE, "doctor"),
    Command(export_command.export, MAKE, "export clit.pth -o clit.plan"),
    Command(calibrate_commands.calibrate, MAKE, "calibrate clit.plan --images photos"),
    Command(build_command.build, MAKE, "build clit.plan --runtime tensorrt"),
    Command(engine_commands.unpack, MAKE, "unpack clit.plan -o graphs"),
    Command(engine_commands.strip, MAKE, "strip clit.plan"),
    Command(train_commands.train, MAKE, "train clit.toml --images photos -o run"),
    Command(triton_command.triton, MAKE, "triton liif -o models"),
    Command(inspect_commands.verify, MEASURE, "verify clit.plan"),
    Command(train_commands.evaluate, MEASURE, "evaluate -e liif --images Set5 -s 2,4,12"),
    Command(
        calibrate_commands.compare,
        MEASURE,
        "compare clit.plan clit-int8.plan --images Set5 -s 2,4 --figure difference.png",
    ),
    Command(profile_commands.profile, MEASURE, "profile -e liif -s 2,4"),
    Command(
        profile_commands.profile_diff, MEASURE, "profile-diff before.json after.json --threshold 5"
    ),
)
for command in COMMANDS:
    command.add_to(app)
