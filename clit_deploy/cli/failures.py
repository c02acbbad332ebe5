"""Errors as one sentence on stderr, an exit code, and with --json an object on stdout."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, NoReturn

import typer

from clit_deploy.cli.exit_codes import ExitCode
from clit_deploy.cli.json_document import print_failure
from clit_deploy.cli.terminal import terminal
from clit_deploy.errors import (
    ClitDeployError,
    NotComparableError,
    OptionError,
    SomeFailedError,
    error_message,
)
from clit_deploy.system import interrupts
from clit_deploy.system.interrupts import Interrupted

if TYPE_CHECKING:
    from collections.abc import Sequence

UsageError = typer.BadParameter.__mro__[1]
"""typer has no public name for the base of all errors of its parser."""


CODES = {
    OptionError: ExitCode.USAGE,
    NotComparableError: ExitCode.NOT_COMPARABLE,
    SomeFailedError: ExitCode.SOME_FAILED,
}
"""Of errors that have an exit code of their own."""


def stopped() -> str:
    """The last words of a command that a signal stops."""
    files = interrupts.kept()
    if not files:
        return "stopped; nothing unfinished was left behind."
    keeps = "keeps" if len(files) == 1 else "keep"
    return (
        f"stopped; {', '.join(map(str, files))} {keeps} the finished rows, and the same command "
        "goes on from there."
    )


def fail(error: BaseException, arguments: Sequence[str]) -> NoReturn:
    """Report what was raised for this command line, and exit."""
    message, code = described(error)
    if logging.getLogger().isEnabledFor(logging.DEBUG):
        logging.getLogger(__name__).debug("traceback of the error below", exc_info=error)
    if "--json" in arguments:
        print_failure(error, message, code)
    sys.stdout.flush()
    terminal.error(f"clit-deploy: {message}")
    sys.exit(code)


def described(error: BaseException) -> tuple[str, int]:
    """The sentence and the exit code for an error."""
    if isinstance(error, Interrupted):
        return stopped(), error.exit_code
    if isinstance(error, UsageError):
        return _usage(error), ExitCode.USAGE
    if isinstance(error, ClitDeployError):
        codes = (code for kind, code in CODES.items() if isinstance(error, kind))
        return error_message(error), next(codes, ExitCode.ERROR)
    if isinstance(error, MemoryError):
        return "Out of memory; set --max-memory to what the machine has.", ExitCode.ERROR
    if isinstance(error, OSError):
        where = f"{error.filename} cannot be used: " if error.filename else ""
        return f"{where}{error.strerror or error}.", ExitCode.ERROR
    return f"Unexpected {type(error).__name__}: {error}. --debug shows where.", ExitCode.ERROR


def _usage(error: BaseException) -> str:
    """A sentence of typer's on one line, and where the options are listed."""
    text = " ".join(str(getattr(error, "format_message", lambda: error)()).split())
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "clit-deploy"
    return f"{text.rstrip('.')}. '{command} -h' lists what there is."
