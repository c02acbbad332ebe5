"""The log of a run: a CSV file, and a plot of it on request."""

from __future__ import annotations

import csv
import importlib.util
from typing import TYPE_CHECKING

from clit_deploy.errors import MissingDependencyError
from clit_deploy.system.extras import install_command
from clit_deploy.system.files import replacing

if TYPE_CHECKING:
    from pathlib import Path

History = list[dict[str, float]]


def write_log(run: Path, history: History) -> None:
    """Write `log.csv` anew, a row for each interval."""
    columns = list(dict.fromkeys(key for row in history for key in row))
    with replacing(run / "log.csv") as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(history)


def check_figure() -> None:
    """Refuse a figure where it could not be drawn.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingDependencyError(
            "--figure needs matplotlib, which is not installed; install it with "
            f"{install_command('figure')}, or leave --figure out (log.csv has the figures)."
        )


def write_figure(run: Path, history: History) -> None:
    """Write `log.png` anew: decibels and loss over the steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    upper, lower = figure.subplots(2, sharex=True)
    names = list(dict.fromkeys(key for row in history for key in row if key.startswith("x")))
    for axes, some in ((upper, names), (lower, ["loss"])):
        for name in some:
            points = [(row["step"], row[name]) for row in history if name in row]
            axes.plot(*zip(*points, strict=True), label=name)
        axes.legend()
    upper.set(ylabel="dB, validation photographs")
    lower.set(xlabel="step", ylabel="mean absolute error, -1..1", yscale="log")
    with replacing(run / "log.png") as part:
        figure.savefig(part, format="png", dpi=100)
