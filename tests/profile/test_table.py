"""What is printed: rows keep their names however narrow the terminal is."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from clit_deploy.profile.diff import compare_profiles
from clit_deploy.profile.table import show, show_changes
from clit_deploy.profile.text import label


def printed(width, function, *args):
    out = io.StringIO()
    function(*args, Console(width=width, file=out))
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 99, 100, 160])
def test_rows_have_names_and_figures_at_every_width(measured, width):
    lines = [line.strip() for line in printed(width, show, measured).splitlines()]
    head = next(line for line in lines if line.split()[:2] == ["ms", "runs"])
    for row in measured.rows:
        (line,) = (line for line in lines if line.startswith(f"{label(row)}  "))
        count, p50 = line.removeprefix(label(row)).split()[:2]
        assert int(count) == row.host_ms.count
        assert float(p50) == pytest.approx(row.host_ms.p50, rel=1e-3)
        assert len(line) <= width
    assert ("std" in head.split()) == (width >= 100)


def test_a_long_name_is_folded_not_dropped(measured):
    long = {"scale": 4.0, "plan": "a-rather-long-name-of-a-plan-x4.plan"}
    text = printed(80, show, replace(measured, rows=(replace(measured.rows[0], requested=long),)))
    names = [line.strip().split("  ")[0] for line in text.splitlines()]
    assert long["plan"] in "".join(names)


def test_a_figure_that_is_gone_is_shown(measured):
    lost = replace(measured, rows=tuple(replace(row, quality=None) for row in measured.rows))
    found = compare_profiles(measured, lost, 5.0)
    line = next(x for x in printed(120, show_changes, found).splitlines() if "quality" in x)
    assert line.split()[2:] == ["none", "dB", "worse"]
