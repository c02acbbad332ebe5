"""Draw what models of several sizes cost and give: docs/images/sizes.svg from docs/sizes.csv.

    python docs/draw_sizes.py

Needs matplotlib (`pip install '.[figure]'`). The table has the model, whether it ships, then
milliseconds per megapixel of output and PSNR on the held-out photographs, at three scales. A model
that was not measured at a scale has empty columns there.
"""

from __future__ import annotations

import csv
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

FOLDER = Path(__file__).resolve().parent
SCALES = ("x2", "x4", "x12")
TICKS = (1000, 2000, 4000, 8000, 16000)


def main() -> None:
    """Draw."""
    with (FOLDER / "sizes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    # Text stays text, and the same table gives the same file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "sizes", "font.size": 9})
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for axes, scale in zip(figure.subplots(1, len(SCALES)), SCALES, strict=True):
        for row in (row for row in rows if row[f"{scale} dB"]):
            at = float(row[f"{scale} ms/MP"]), float(row[f"{scale} dB"])
            ships = row["ships"] == "yes"
            axes.plot(*at, "o", color="tab:blue", fillstyle="full" if ships else "none")
            place = (0, 6 if ships else -14)
            axes.annotate(row["model"], at, place, textcoords="offset points", ha="center")
        axes.set(title=scale, xlabel="ms per megapixel of output", xscale="log")
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_major_locator(FixedLocator(TICKS))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.margins(0.3)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("dB, held-out photographs")
    figure.savefig(FOLDER / "images" / "sizes.svg", metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main()
