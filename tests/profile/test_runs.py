"""Runs by hand: what is summed, and what is divided by what."""

from __future__ import annotations

import pytest

from clit_deploy.profile.records import GraphTime, PhaseTime, TraceEvent
from clit_deploy.profile.runs import Run, Runs
from clit_deploy.runtimes.protocols import DeviceTime
from clit_deploy.runtimes.wrappers import Call
from clit_deploy.system.phases import Phase

MS = 1_000_000


def run(start, ms, encoder=4):
    """`read` for 1 ms, `encoder`, a gap, `decode` twice for 2 ms; calls on two threads."""
    phases = [("read", 0, 1), ("encoder", 1, 1 + encoder), ("decode", 6, 8), ("decode", 8, 10)]
    calls = [("e.onnx", 7, 1, 5), ("d.onnx", 7, 6, 8), ("d.onnx", 9, 6, 9)]
    return Run(
        start * MS,
        (start + ms) * MS,
        [Phase(name, (start + a) * MS, (start + b) * MS) for name, a, b in phases],
        [Call(name, thread, (start + a) * MS, (start + b) * MS) for name, thread, a, b in calls],
    )


@pytest.fixture
def runs():
    found = Runs()
    device = [DeviceTime("e.onnx", 1, 0.5, 3.0, 0.0), DeviceTime("d.onnx", 2, 1.0, 2.0, 4.0)]
    for start, ms, encoder in ((100, 10, 4), (120, 10, 2), (140, 20, 3)):
        found.add(run(start, ms, encoder), device)
    return found


def test_phases_are_summed_in_a_run_and_averaged_over_runs(runs):
    assert runs.phases() == (
        PhaseTime("read", pytest.approx(1), pytest.approx(1), pytest.approx(3 / 40)),
        PhaseTime("encoder", pytest.approx(3), pytest.approx(3), pytest.approx(9 / 40)),
        PhaseTime("decode", pytest.approx(4), pytest.approx(4), pytest.approx(12 / 40)),
    )
    assert runs.cover() == pytest.approx(24 / 40)


def test_graphs_are_summed_over_threads(runs):
    assert runs.graphs() == (
        GraphTime("e.onnx", 1, pytest.approx(4)),
        GraphTime("d.onnx", 2, pytest.approx(5)),
    )


def test_a_device_s_times_are_divided_by_the_images(runs):
    assert runs.device() == (
        DeviceTime("e.onnx", 1, 0.5, 3.0, 0.0),
        DeviceTime("d.onnx", 2, 1.0, 2.0, 4.0),
    )


def test_runs_are_dated_from_the_first_one_s_start(runs):
    assert runs.raw() == ((0.0, 10.0), (0.02, 10.0), (0.04, 20.0))


def test_the_timeline_is_that_of_the_run_nearest_to_the_median(runs):
    marks = runs.timeline()
    assert marks[1] == TraceEvent("phases", "encoder", pytest.approx(1), pytest.approx(4))
    assert [mark.lane for mark in marks[4:]] == ["thread 1", "thread 1", "thread 2"]
    assert marks[6] == TraceEvent("thread 2", "d.onnx", pytest.approx(6), pytest.approx(3))
