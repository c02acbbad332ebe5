"""A profile, or the difference of two, on a terminal."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from clit_deploy.profile.text import details, label, latencies, machine_line, short

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from clit_deploy.profile.diff import Change, ProfileDiff
    from clit_deploy.profile.profile_file import Profile
    from clit_deploy.profile.records import Row

NARROW = 100
"""Columns of a terminal below which the table leaves `SPARED` out, so that its rows keep names."""
SPARED = ("p90", "min", "std")
RIGHT = {1, 2, 4, 5}
"""Columns of numbers in a table of changes."""
STYLES = {"worse": "bold red", "better": "green", "same": "", "not judged": "dim"}


def show(profile: Profile, console: Console) -> None:
    """Print the machine, a line of latencies for each row, and the details of each row."""
    image = profile.image
    about = f"{image.name}, {image.width}x{image.height} pixels, {profile.started}"
    for line in (machine_line(profile.machine), about):
        console.print(line, markup=False, highlight=False)
    console.print(_latencies(profile.rows, SPARED if console.width < NARROW else ()))
    for row in profile.rows:
        if len(profile.rows) > 1:
            console.print(f"\n{label(row)}", markup=False, highlight=False, style="bold")
        grid = Table.grid(padding=(0, 2))
        for name, text in details(row):
            grid.add_row(name, Text(text), style="bold yellow" if name == "caution" else "")
        console.print(grid)


def _latencies(rows: Sequence[Row], spared: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE, padding=(0, 1), pad_edge=False)
    table.add_column("ms", min_width=20, overflow="fold")
    best = min(rows, key=lambda row: row.ms_per_megapixel)
    for k, row in enumerate(rows):
        figures = {name: text for name, text in latencies(row).items() if name not in spared}
        for name in figures if k == 0 else ():
            table.add_column(name, justify="right", no_wrap=True)
        style = "bold" if row is best and len(rows) > 1 else ""
        table.add_row(Text(label(row)), *figures.values(), style=style)
    return table


def show_changes(found: ProfileDiff, console: Console) -> None:
    """Print what differs between two profiles, and what may explain it."""
    for row, changes in groupby(found.changes, key=lambda change: change.row):
        console.print(row, markup=False, highlight=False, style="bold")
        console.print(_changes(changes))
    for note in found.notes:
        console.print(f"note: {note}", markup=False, highlight=False)


def _changes(changes: Iterable[Change]) -> Table:
    table = Table(box=box.SIMPLE, padding=(0, 1), pad_edge=False)
    for k, name in enumerate(("figure", "before", "after", "", "change", "noise", "")):
        table.add_column(name, justify="right" if k in RIGHT else "left", no_wrap=True)
    for change in changes:
        factor, unit = (1e-6, "MB") if change.unit == "B" else (1.0, change.unit)
        table.add_row(
            Text(change.name),
            short(change.before * factor),
            "none" if change.after is None else short(change.after * factor),
            unit,
            "" if change.percent is None or change.unit == "dB" else f"{change.percent:+.1f} %",
            "" if change.noise is None else f"{change.noise:.1f} %",
            "" if change.verdict == "not judged" else change.verdict,
            style=STYLES[change.verdict],
        )
    return table
