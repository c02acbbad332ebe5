"""A profile on a terminal."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from clit_deploy.profile.text import details, label, machine_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from clit_deploy.profile.diff import Change, ProfileDiff
    from clit_deploy.profile.profile_file import Profile
    from clit_deploy.profile.records import Row

NARROW = 100
"""Columns of a terminal below which a table leaves `SPARED` out, so that its rows keep names."""
SPARED = ("p90", "min", "std")
RIGHT = {1, 2, 4, 5}
"""Columns of numbers in a table of changes."""
STYLES = {"worse": "bold red", "better": "green", "same": "", "told": "dim"}


def show(profile: Profile, console: Console) -> None:
    """Print what ran it, a line of latencies for each row, and the details of each row."""
    picture = profile.picture
    console.print(machine_line(profile.machine), markup=False, highlight=False)
    reported = f"{picture.name}, {picture.width}x{picture.height} pixels, {profile.started}"
    console.print(reported, markup=False, highlight=False)
    spared = SPARED if console.width < NARROW else ()
    console.print(_latencies(profile.rows, spared))
    for row in profile.rows:
        if len(profile.rows) > 1:
            console.print(f"\n{label(row)}", markup=False, highlight=False, style="bold")
        console.print(pairs(details(row)))


def pairs(lines: Iterable[tuple[str, str]]) -> Table:
    """A word and what there is to say about it, a line each."""
    grid = Table.grid(padding=(0, 2))
    for name, text in lines:
        grid.add_row(name, text, style="bold yellow" if name == "caution" else "")
    return grid


def _latencies(rows: Sequence[Row], spared: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE, padding=(0, 1), pad_edge=False)
    table.add_column("ms", min_width=20, overflow="fold")
    best = min(rows, key=lambda row: row.ms_per_megapixel)
    for k, row in enumerate(rows):
        figures = {name: text for name, text in _figures(row).items() if name not in spared}
        for name in figures if k == 0 else ():
            table.add_column(name, justify="right", no_wrap=True)
        style = "bold" if row is best and len(rows) > 1 else ""
        table.add_row(label(row), *figures.values(), style=style)
    return table


def _figures(row: Row) -> dict[str, str]:
    """Of a row, by the head of their columns."""
    stats = row.host_ms
    return {
        "runs": str(stats.count),
        **{k: short(getattr(stats, k)) for k in ("p50", "p90", "p95", "p99", "min", "max", "std")},
        "dB": f"{row.quality.psnr_db:.1f}" if row.quality else "-",
        "J/img": f"{row.power.joules_per_image:.3g}" if row.power else "-",
    }


def short(value: float) -> str:
    """A number with four figures, never with an exponent: `1004`, `93.61`, `0.809`."""
    return f"{value:.{max(4 - len(str(int(value))), 0)}f}"


def show_changes(found: ProfileDiff, threshold: float, console: Console) -> None:
    """Print what differs between two profiles, and what may explain it."""
    for row, changes in groupby(found.changes, key=lambda change: change.row):
        console.print(row, markup=False, highlight=False, style="bold")
        console.print(_changes(changes))
    for note in found.notes:
        console.print(f"note: {note}", markup=False, highlight=False)
    reported = f"worse by more than {threshold:g} % and the noise"
    console.print(f"something is {reported}" if found.regressed else f"nothing is {reported}")


def _changes(changes: Iterable[Change]) -> Table:
    table = Table(box=box.SIMPLE, padding=(0, 1), pad_edge=False)
    for k, name in enumerate(("figure", "before", "after", "", "change", "noise", "")):
        table.add_column(name, justify="right" if k in RIGHT else "left", no_wrap=True)
    for change in changes:
        factor, unit = (1e-6, "MB") if change.unit == "B" else (1.0, change.unit)
        table.add_row(
            change.name,
            short(change.before * factor),
            "none" if change.after is None else short(change.after * factor),
            unit,
            "" if change.percent is None or change.unit == "dB" else f"{change.percent:+.1f} %",
            "" if change.noise is None else f"{change.noise:.1f} %",
            "" if change.verdict == "told" else change.verdict,
            style=STYLES[change.verdict],
        )
    return table
