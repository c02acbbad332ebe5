"""Options that several commands share, and the reading of what people type into them."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from clit_deploy.config import RuntimeName
from clit_deploy.errors import OptionError

RuntimeOption = Annotated[
    RuntimeName, typer.Option("--runtime", help="Where to run; auto takes the best present.")
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", help="Processors to use.", show_default="all")
]
MemoryOption = Annotated[
    str | None, typer.Option("--max-memory", help="Memory that may be used, like 2GB.")
]
RebuildOption = Annotated[
    bool,
    typer.Option(
        "--rebuild/--no-rebuild",
        help="Build engines that are missing or for another device, or refuse.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]
DefaultEngineOption = Annotated[
    Path | None,
    typer.Option("--engine", "-e", help="The .plan file.", show_default="the package's model"),
]
MaxDropOption = Annotated[
    float | None,
    typer.Option("--max-drop", help="dB that INT8 may lose at x2, x4 or x12.", show_default="0.05"),
]
PlanArgument = Annotated[Path, typer.Argument(help="A .plan file.", show_default=False)]
ImageArgument = Annotated[Path, typer.Argument(help="A picture.", show_default=False)]


def parse_capability(text: str) -> str:
    """`86` or `8.6` -> `8.6`."""
    found = re.fullmatch(r"(?:sm_?)?(\d{1,2})\.?(\d)", text.strip().lower())
    if not found:
        raise OptionError(f"{text!r} is no compute capability; write it like 8.6 or 86.")
    return f"{found[1]}.{found[2]}"


def parse_size(text: str | None) -> tuple[int, int] | None:
    """`1920x1080` -> (height, width)."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
        raise OptionError(f"{text!r} is no size; write it like 1920x1080.")
    return int(parts[1]), int(parts[0])


def parse_scales(text: str) -> list[float]:
    """`2,3.5,4` -> numbers."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise OptionError(f"{text!r} are no scales; write them like 2,3.5,4.") from error


def parse_place(text: str) -> tuple[int, int]:
    """`X,Y` -> (row, column)."""
    found = re.fullmatch(r"\s*(-?[0-9]+)\s*,\s*(-?[0-9]+)\s*", text)
    if not found:
        raise OptionError(f"{text!r} is no place; write it like 120,80 (column, row).")
    return int(found[2]), int(found[1])


class Bar:
    """A bar that is on the screen."""

    def __init__(self, progress: Any, name: str) -> None:
        self._progress = progress
        self._task = progress.add_task(name, total=1.0)

    def __call__(self, done: float, text: str | None = None) -> None:
        """Show how much is done, 0 to 1, and, if given, another text before it."""
        changed = {} if text is None else {"description": text}
        self._progress.update(self._task, completed=done, **changed)

    def print(self, line: str) -> None:
        """Write a line above the bar."""
        self._progress.console.print(line, markup=False, highlight=False)


class ProgressBar:
    """A bar with the time left on stderr, where that is a terminal; otherwise nothing."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._bar: Any = None

    def __enter__(self) -> Bar | None:
        if not sys.stderr.isatty():
            return None
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._bar.start()
        return Bar(self._bar, self._name)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
