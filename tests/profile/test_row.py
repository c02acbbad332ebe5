"""One real measurement, looked at from all sides."""

from __future__ import annotations

import csv
import io
import itertools
import json

import pytest

from clit_deploy.runtimes.ort.ort_layers import RUNS
from tests.helpers import ROOT


def test_rows_are_what_was_asked_for(measured):
    assert [row.requested for row in measured.rows] == [
        {"scale": 9.0, "threads": 1},
        {"scale": 9.0, "threads": 2},
    ]
    for row in measured.rows:
        assert (row.output.width, row.output.height) == (180, 216)
        assert "onnxruntime" in row.runtime
        assert row.family == "clit"
    assert (measured.image.width, measured.image.height) == (20, 24)


def test_figures_agree_with_the_runs(measured):
    for row in measured.rows:
        ms = [run for _, run in row.runs]
        assert row.host_ms.count == len(ms) >= 5
        assert row.host_ms.min == min(ms)
        assert row.host_ms.max == max(ms)
        assert row.host_ms.mean == pytest.approx(sum(ms) / len(ms))
        assert row.ms_per_megapixel == pytest.approx(row.host_ms.p50 / (216 * 180 / 1e6))
        starts = [start for start, _ in row.runs]
        assert starts == sorted(starts)
        assert starts[0] == 0
        last_end = starts[-1] + ms[-1] / 1000
        assert last_end >= 0.7  # the duration that was asked for
        assert sum(ms) / 1000 <= last_end


def test_phases_are_complete_and_do_not_overlap(measured):
    for row in measured.rows:
        names = [phase.name for phase in row.phases]
        assert names[:3] == ["prepare", "read", "encoder"]
        assert {"stage0.project", "stage0.decode", "stage1.decode", "base", "write"} <= set(names)
        assert row.phases_cover == pytest.approx(sum(phase.share for phase in row.phases))
        assert 0.8 < row.phases_cover <= 1
        waiting = [mark for mark in row.timeline if mark.lane == "phases"]
        for a, b in itertools.pairwise(waiting):
            assert a.start_ms + a.ms <= b.start_ms + 1e-6


def test_graphs_are_counted_on_their_threads(measured):
    for row in measured.rows:
        busy = {one.member: one for one in row.graphs}
        plan = ["encoder.onnx", "stage0.project.onnx", "stage0.decode.onnx", "stage1.decode.onnx"]
        assert set(plan) <= set(busy)
        assert busy["encoder.onnx"].runs == 1
        assert all(one.host_ms > 0 for one in row.graphs)
        assert "stage2.decode.onnx" not in busy  # x9 asks for two stages
        lanes = {mark.lane for mark in row.timeline if "decode.onnx" in mark.name}
        assert 1 <= len(lanes) <= row.threads


def test_loading_is_reported_apart(measured):
    for row in measured.rows:
        assert row.loading.open_ms > 0
        assert row.loading.first_run_ms > 0
        assert row.loading.warm_up_runs >= 2
        assert {"encoder.onnx", "stage0.decode.onnx"} <= set(row.loading.graphs)


def test_layers_come_from_a_pass_of_their_own(measured):
    for row in measured.rows:
        assert row.layers
        assert {layer.member for layer in row.layers} == {one.member for one in row.graphs}
        assert all(1 <= layer.runs < RUNS and layer.ms > 0 for layer in row.layers)
        (encoder,) = {x.runs for x in row.layers if x.member == "encoder.onnx"}
        assert encoder == 1  # the first strip, twice, and a session's first run does not count


def test_quality_beside_speed(measured):
    for row in measured.rows:
        assert row.quality.psnr_db > 100
        assert "untiled" in row.quality.reference


def test_power_and_conditions_of_the_recorded_board(measured):
    assert measured.machine.power_mode == "25W"
    for row in measured.rows:
        assert row.power.mean_w == pytest.approx(9.250304)
        assert row.power.idle_w == pytest.approx(9.250304)
        spent = row.power.joules_per_image * row.host_ms.count
        start, last = row.runs[-1]
        seconds = start + last / 1000  # from the first run's start to the last one's end
        assert seconds <= spent / 9.250304 < seconds + 0.5
        assert row.power.joules_per_megapixel == pytest.approx(spent / row.host_ms.count / 0.03888)
        assert row.power.above_idle_joules_per_image == pytest.approx(0, abs=1e-6)
        assert row.conditions.clock_state == "locked"
        assert row.conditions.throttled is False
        assert row.comparable
        assert row.curves


def test_every_field_is_documented(measured):
    """docs/profile.md names every field of the JSON file."""

    def names(value):
        if isinstance(value, dict):
            for key, inner in value.items():
                yield key
                yield from names(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from names(inner)

    content = json.loads(measured.to_json())
    free = {"requested", "absent", "unavailable", "versions"}  # their keys are not fixed

    def fixed(value):
        if isinstance(value, dict):
            return {k: {} if k in free else fixed(v) for k, v in value.items()}
        return [fixed(v) for v in value] if isinstance(value, list) else value

    text = (ROOT / "docs" / "profile.md").read_text()
    missing = {name for name in names(fixed(content)) if f"`{name}`" not in text}
    missing -= set(content["rows"][0]["loading"]["graphs"])
    assert not missing


def test_csv_has_the_figures_of_each_row(measured):
    lines = list(csv.DictReader(io.StringIO(measured.to_csv())))
    assert len(lines) == len(measured.rows)
    for line, row in zip(lines, measured.rows, strict=True):
        expected = {
            "scale": 9.0,
            "threads": row.threads,
            "output.width": 180,
            "output.height": 216,
            "tile": row.tile,
            "host_ms.count": row.host_ms.count,
            "loading.first_run_ms": row.loading.first_run_ms,
            "host_ms.p50": row.host_ms.p50,
            "host_ms.p99": row.host_ms.p99,
            "phases.encoder_ms": next(p.mean_ms for p in row.phases if p.name == "encoder"),
            "memory.host_peak": row.memory.host_peak,
            "power.mean_w": 9.250304,
            "power.joules_per_image": row.power.joules_per_image,
            "quality.psnr_db": row.quality.psnr_db,
        }
        assert {key: float(line[key]) for key in expected} == pytest.approx(expected)
        assert (line["power_mode"], line["conditions.clock_state"], line["comparable"]) == (
            "25W",
            "locked",
            "True",
        )
        assert line["runtime"] == row.runtime
