"""The log of a run: a CSV file and a plot of it."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from clit_deploy.system.files import replacing

if TYPE_CHECKING:
    from pathlib import Path


def write_log(run: Path, history: list[dict[str, float]]) -> None:
    """Write `log.csv` and `log.png` anew."""
    columns = list(dict.fromkeys(key for row in history for key in row))
    with replacing(run / "log.csv") as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(history)
    _plot(run, history, columns)


def _plot(run: Path, history: list[dict[str, float]], columns: list[str]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    done, ends, last = 0.0, [], 0.0
    at = []
    for row in history:
        if row["step"] <= last:
            ends.append(done + last)
            done += last
        last = row["step"]
        at.append(done + last)
    for name in columns:
        if name == "loss" or name.startswith("validation"):
            points = [(x, row[name]) for x, row in zip(at, history, strict=True) if name in row]
            axes.plot(*zip(*points, strict=True), label=name)
    for end in ends:
        axes.axvline(end, color="gray", linestyle=":")
    axes.set(xlabel="step", ylabel="mean absolute error, -1..1", yscale="log")
    axes.legend()
    with replacing(run / "log.png") as part:
        figure.savefig(part, format="png", dpi=100)
