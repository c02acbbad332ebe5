"""What people type: durations, sweeps, iterations."""

from __future__ import annotations

from pathlib import Path

import pytest

from clit_deploy.errors import OptionError
from clit_deploy.profile.sweep import Case, Sweep, cases, check_iterations, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("10m", 600), ("1.5h", 5400), ("500ms", 0.5), ("7", 7), (" 2 min ", 120)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "-3s", "ten", "5 days", "5h", "nan", "1e3s", "inf"])
def test_durations_that_are_not_valid(text):
    with pytest.raises(OptionError, match="not a valid duration"):
        parse_duration(text)


@pytest.mark.parametrize("count", [0, -1, 10_000_001])
def test_iterations_that_are_not_valid(count):
    with pytest.raises(OptionError, match="--iterations"):
        check_iterations(count)


def test_every_combination_once():
    sweeps = [Sweep.parse("tile=64, 96"), Sweep.parse("threads=1,2")]
    found = cases(Case(Path("a.plan"), 1.0), [2.0, 4.0, 2.0], sweeps)
    assert len(found) == 8
    assert found[0] == (
        {"scale": 2.0, "tile": 64, "threads": 1},
        Case(Path("a.plan"), 2.0, threads=1, tile=64),
    )
    assert len({case for _, case in found}) == 8


def test_plans_go_by_the_names_of_their_files():
    ((asked, case), _) = cases(Case(Path(), 1.0), [4.0], [Sweep.parse("plan=x/a.plan,b.plan")])
    assert asked == {"scale": 4.0, "plan": "a.plan"}
    assert case.plan == Path("x/a.plan")


def test_plans_of_one_name_go_by_their_paths():
    sweep = Sweep.parse("plan=x/a.plan,y/a.plan,b.plan")
    found = [asked["plan"] for asked, _ in cases(Case(Path(), 1.0), [4.0], [sweep])]
    assert found == ["x/a.plan", "y/a.plan", "b.plan"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("color=1,2", "is not a valid sweep"),
        ("tile", "is not a valid sweep"),
        ("tile=", "whole number from 8"),
        ("tile=64,,96", "whole number from 8"),
        ("tile=4", "whole number from 8"),
        ("threads=0", "whole number from 1"),
        ("threads=two", "whole number from 1"),
        ("scale=0.5", "a number from 1"),
        ("scale=nan", "a number from 1"),
        ("runtime=warp", "one of auto, cpu"),
        ("tile=64,64", "twice"),
        ("precision=fp33", "one of fp32, fp16, int8, int8-fp16"),
        ("plan=", ".plan file"),
    ],
)
def test_sweeps_that_are_not_valid(text, words):
    with pytest.raises(OptionError, match=words.replace(".", r"\.")):
        Sweep.parse(text)


def test_rows_that_are_not_valid():
    base = Case(Path("a.plan"), 1.0)
    with pytest.raises(OptionError, match="swept twice"):
        cases(base, [4.0], [Sweep.parse("tile=64"), Sweep.parse("tile=96")])
    with pytest.raises(OptionError, match="is not valid; give 1"):
        cases(base, [0.5], [])
    many = ",".join(map(str, range(8, 258)))
    with pytest.raises(OptionError, match="250 rows"):
        cases(base, [4.0], [Sweep.parse(f"block={many}")])
