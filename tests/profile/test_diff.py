"""Two profiles: what counts as a change, and what forbids to compare."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clit_deploy.errors import NotComparableError, OptionError
from clit_deploy.profile.diff import compare_profiles
from clit_deploy.profile.profile_file import Failure
from clit_deploy.profile.stats import summarize
from clit_deploy.profile.text import label


def with_runs(profile, factor=1.0, noise=0.01, seed=0, **changes):
    """The profile with synthetic runs of 100 ms times `factor`."""
    rng = np.random.default_rng(seed)
    rows = []
    for row in profile.rows:
        ms = (100 * factor * (1 + noise * rng.standard_normal(60))).tolist()
        runs = tuple((k * 0.1, value) for k, value in enumerate(ms))
        rows.append(replace(row, runs=runs, host_ms=summarize(ms), **changes))
    return replace(profile, rows=tuple(rows))


def verdicts(before, after, name="latency", threshold=5.0):
    found = compare_profiles(before, after, threshold)
    return {change.verdict for change in found.changes if change.name == name}, found.regressed


def test_equal_runs_are_the_same(measured):
    assert verdicts(with_runs(measured), with_runs(measured, seed=1)) == ({"same"}, False)


def test_slower_by_more_than_noise_and_threshold_is_worse(measured):
    assert verdicts(with_runs(measured), with_runs(measured, 1.08)) == ({"worse"}, True)
    assert verdicts(with_runs(measured, 1.08), with_runs(measured)) == ({"better"}, False)


def test_slower_within_the_threshold_is_not(measured):
    slower = with_runs(measured, 1.03, noise=0.001)
    assert verdicts(with_runs(measured, noise=0.001), slower) == ({"same"}, False)
    assert verdicts(with_runs(measured, noise=0.001), slower, threshold=2) == ({"worse"}, True)


def test_slower_within_the_noise_is_not(measured):
    before, after = with_runs(measured, noise=0.5), with_runs(measured, 1.15, noise=0.5, seed=1)
    assert verdicts(before, after) == ({"same"}, False)
    noise = compare_profiles(before, after, 5.0).changes[0].noise
    assert noise > abs(compare_profiles(before, after, 5.0).changes[0].percent)


def test_energy_memory_and_quality_are_judged(measured):
    before = with_runs(measured)
    power = replace(before.rows[0].power, joules_per_image=1.0)
    memory = replace(before.rows[0].memory, host_peak=10**9)
    quality = replace(before.rows[0].quality, psnr_db=55.0)
    before = with_runs(measured, power=power, memory=memory, quality=quality)
    for name, worse, same in [
        ("energy", {"power": replace(power, joules_per_image=1.1)},
         {"power": replace(power, joules_per_image=1.04)}),
        ("memory", {"memory": replace(memory, host_peak=1_060_000_000)},
         {"memory": replace(memory, host_peak=1_040_000_000)}),
        ("quality", {"quality": replace(quality, psnr_db=53.9)},
         {"quality": replace(quality, psnr_db=54.1)}),
    ]:  # fmt: skip
        others = {"power": power, "memory": memory, "quality": quality}
        assert verdicts(before, with_runs(measured, **{**others, **worse}), name) == (
            {"worse"},
            True,
        )
        assert verdicts(before, with_runs(measured, **{**others, **same}), name) == (
            {"same"},
            False,
        )


def test_small_amounts_of_memory_are_the_allocators(measured):
    memory = replace(measured.rows[0].memory, host_peak=150_000_000)
    more = replace(memory, host_peak=170_000_000)
    before, after = with_runs(measured, memory=memory), with_runs(measured, memory=more)
    assert verdicts(before, after, "memory") == ({"same"}, False)


def test_a_loss_nobody_sees_is_none(measured):
    quality = replace(measured.rows[0].quality, psnr_db=160.0)
    after = with_runs(measured, quality=replace(quality, psnr_db=70.0))
    assert verdicts(with_runs(measured, quality=quality), after, "quality") == ({"same"}, False)


def test_a_picture_that_is_lost_is_a_regression(measured):
    """NaN has no decibels."""
    row = measured.rows[0]
    reasons = {**row.unavailable, "quality": "the output holds NaN"}
    lost = with_runs(measured, quality=None, unavailable=reasons)
    found = compare_profiles(with_runs(measured), lost, 5.0)
    (change,) = {c for c in found.changes if c.name == "quality" and c.row == label(row)}
    assert (change.after, change.percent, change.verdict) == (None, None, "worse")
    assert found.regressed
    assert any("quality" in note and "the output holds NaN" in note for note in found.notes)
    assert not compare_profiles(lost, with_runs(measured), 5.0).regressed


def test_energy_of_other_rails_is_not_judged(measured):
    power = measured.rows[0].power
    rails = {rail.name: replace(rail, total=True) for rail in power.rails}
    both = replace(power, rails=(rails["VDD_IN"], rails["VDD_SOC"]), joules_per_image=3.0)
    one = replace(power, rails=(rails["VDD_IN"],), joules_per_image=1.0)
    before, after = with_runs(measured, power=one), with_runs(measured, power=both)
    assert verdicts(before, after, "energy") == ({"not judged"}, False)
    assert verdicts(after, before, "energy") == ({"not judged"}, False)
    assert any("VDD_IN and VDD_SOC" in note for note in compare_profiles(before, after, 5.0).notes)


def test_energy_that_is_gone_is_noted(measured):
    reasons = {**measured.rows[0].unavailable, "power": "no monitor"}
    found = compare_profiles(
        with_runs(measured), with_runs(measured, power=None, unavailable=reasons), 5.0
    )
    assert not found.regressed
    assert any("energy: no longer available (no monitor)" in note for note in found.notes)


def test_latencies_of_few_runs_are_not_judged(measured):
    few = replace(measured, rows=tuple(replace(row, runs=row.runs[:4]) for row in measured.rows))
    found = compare_profiles(few, with_runs(measured, 3.0), 5.0)
    latencies = [change for change in found.changes if change.name == "latency"]
    assert {(change.verdict, change.noise) for change in latencies} == {("not judged", None)}
    assert any("4 runs do not show" in note for note in found.notes)


def test_rows_are_matched_by_what_was_requested(measured):
    """Scales that agree in six digits are two."""
    row = measured.rows[0]
    scales = 3.1234567, 3.1234568
    rows = tuple(replace(row, requested={"scale": scale}) for scale in scales)
    slower = with_runs(replace(measured, rows=rows[1:]), 2.0)
    found = compare_profiles(with_runs(replace(measured, rows=rows)), slower, 5.0)
    assert {change.row for change in found.changes} == {"scale 3.1234568"}
    assert any("scale 3.1234567 is in only one of them" in note for note in found.notes)
    twice = replace(measured, rows=(row, row))
    with pytest.raises(
        NotComparableError, match="2 rows of the second are named scale 9, threads 1"
    ):
        compare_profiles(measured, twice, 5.0)


def test_phases_are_shown_and_not_judged(measured):
    before, after = with_runs(measured), with_runs(measured)
    slow = tuple(replace(phase, p50_ms=phase.p50_ms * 3) for phase in after.rows[0].phases)
    after = with_runs(measured, phases=slow)
    assert verdicts(before, after, "encoder") == ({"not judged"}, False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"module": "another board"}, "another board"),
        ({"power_mode": "MAXN"}, "power mode differs, 25W and MAXN"),
        ({"cpus": 64}, "CPU cores differs"),
    ],
)
def test_other_machines_are_not_compared(measured, change, words):
    other = replace(measured, machine=replace(measured.machine, **change))
    with pytest.raises(NotComparableError, match=words):
        compare_profiles(measured, other, 5.0)


def test_other_pictures_rows_and_floating_clocks_are_not_compared(measured):
    other = replace(measured, image=replace(measured.image, sha256="0", name="cat.png"))
    with pytest.raises(NotComparableError, match=r"cat\.png"):
        compare_profiles(measured, other, 5.0)
    rows = tuple(replace(row, requested={"scale": 3.0}) for row in measured.rows)
    with pytest.raises(NotComparableError, match="no row is in both"):
        compare_profiles(measured, replace(measured, rows=rows), 5.0)
    floating = with_runs(measured, comparable=False, caveats=("clocks float (gpu)",))
    with pytest.raises(NotComparableError, match="clocks float"):
        compare_profiles(measured, floating, 5.0)
    assert not compare_profiles(with_runs(measured), floating, 5.0, floating=True).regressed


def test_what_may_explain_a_change_is_noted(measured):
    machine = replace(measured.machine, versions={**measured.machine.versions, "numpy": "9.9"})
    other = replace(with_runs(measured, tile=77), machine=machine, rows=(
        *with_runs(measured, tile=77).rows, replace(measured.rows[0], requested={"scale": 2.0}),
    ))  # fmt: skip
    notes = compare_profiles(measured, other, 1000.0).notes
    assert any("numpy" in note and "9.9" in note for note in notes)
    assert any("tile" in note and "became 77" in note for note in notes)
    assert any("scale 2 is in only one of them" in note for note in notes)


@pytest.mark.parametrize("threshold", [0, -1, float("nan"), float("inf"), 1e6])
def test_thresholds_that_are_not_valid(measured, threshold):
    with pytest.raises(OptionError, match="threshold"):
        compare_profiles(measured, measured, threshold)


def test_a_row_that_cannot_be_measured_any_more_is_a_regression(measured):
    before = with_runs(measured)
    assert len(before.rows) > 1
    lost, kept = before.rows[0], before.rows[1:]
    after = replace(before, rows=kept, failed=(Failure(lost.requested, "No room."),))
    found = compare_profiles(before, after, 5.0)
    assert found.regressed
    assert [c.row for c in found.changes if c.verdict == "worse"] == [label(lost)]
    assert f"{label(lost)} cannot be measured any more: No room." in found.notes
    assert not compare_profiles(after, before, 5.0).regressed
