"""Messages, progress bars and step counters on stderr. Results go to stdout.

A message that is printed while a bar is on the screen goes through the bar's console, so that it
gets a line of its own.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable


class Terminal:
    """The stderr of this process, with the bar that is on it now."""

    def __init__(self) -> None:
        self.quiet = False
        """Print errors only: no progress, notes or warnings."""
        self.bar: Any = None
        """The `rich.progress.Progress` that is on the screen, if there is one."""

    def note(self, text: str) -> None:
        """Print a message for people, unless quiet."""
        if not self.quiet:
            self.error(text)

    def result(self, text: str) -> None:
        """Print a line of results on stdout, also while a bar is on the same screen."""
        if self.bar is not None and sys.stdout.isatty():
            self.error(text)
        else:
            print_result(text)

    def error(self, text: str) -> None:
        """Print a message in any case."""
        if self.bar is None:
            typer.echo(text, err=True)
        else:
            self.bar.console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_result(text: str) -> None:
    """Print a line on stdout. If that fails, it is said once on stderr, and the work goes on: the
    files that it makes are worth more than their names."""
    try:
        typer.echo(text)
    except OSError as error:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
        if not isinstance(error, BrokenPipeError):  # its reader has seen enough
            terminal.error(f"clit-deploy: stdout cannot be written: {error.strerror}.")


terminal = Terminal()
"""A process has one stderr, so there is one of these."""


class TerminalHandler(logging.Handler):
    """Log records as messages."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        terminal.error(self.format(record))


class ProgressBar:
    """A bar with the time left on stderr, if that is a terminal; otherwise nothing.

    Entering it gives a callback, or None without a bar. The callback takes the part that is done, 0
    to 1, and a new description if there is one.
    """

    def __init__(self, description: str) -> None:
        self._description = description

    def __enter__(self) -> Callable[..., None] | None:
        if terminal.quiet or not sys.stderr.isatty():
            return None
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,  # results may go elsewhere than the bar
        )
        terminal.bar = bar
        bar.start()
        task = bar.add_task(self._description, total=1.0)

        def update(done: float, description: str | None = None) -> None:
            bar.update(task, completed=done, description=description)

        return update

    def __exit__(self, *_: object) -> None:
        if terminal.bar is not None:
            terminal.bar.stop()
            terminal.bar = None


class StepCounter:
    """Numbers the steps of a long job: `[2/7] exporting the encoder`.

    Args:
        total: how many steps there will be.
    """

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0

    def __call__(self, step: str) -> None:
        """Start the next step."""
        self.done += 1
        terminal.note(f"[{self.done}/{self.total}] {step}")
