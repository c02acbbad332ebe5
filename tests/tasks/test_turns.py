"""Images in work at once: one computes, others are read and encoded, and memory is never promised
twice.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from clit_deploy.errors import MemoryBudgetError
from clit_deploy.system import interrupts, memory
from clit_deploy.tasks.batch import outcomes
from clit_deploy.tasks.image_tasks import Task
from clit_deploy.tasks.output_size import OutputSize
from clit_deploy.tasks.turns import Turns

PAUSE = 0.05


@dataclass
class Forecast:
    peak: int


@dataclass
class Rendering:
    forecast: Forecast
    is_fastest: bool = True


@dataclass
class Result:
    name: str
    seconds: float


class Machine:
    """What happened, as the images tell it; memory is a number."""

    def __init__(self, monkeypatch, limit, need):
        self.limit, self.need = limit, need
        self.held, self.most = 0, 0
        self.computing = self.most_computing = 0
        self.overlapped = {"read": False, "encode": False}
        self.lock = threading.Lock()
        monkeypatch.setattr(memory, "resident", lambda: self.held)
        monkeypatch.setattr(memory, "limit", lambda _: limit)
        monkeypatch.setattr(memory, "release_freed", self.release)
        self.released = 0

    def release(self):
        assert not self.held, "only when no image is in work"
        self.released += 1

    def prepare(self):
        if self.limit is not None and self.held + self.need > self.limit and self.held:
            raise MemoryBudgetError("too much")
        return Rendering(Forecast(self.held + self.need))

    def hold(self, amount):
        with self.lock:
            self.held += amount
            self.most = max(self.most, self.held)

    def upscale(self, task, turn):
        start = time.perf_counter()
        turn.prepared(self.prepare)
        self.hold(self.need // 2)
        self.step("read")
        with turn.computing():
            with self.lock:
                self.computing += 1
                self.most_computing = max(self.most_computing, self.computing)
            self.hold(self.need - self.need // 2)
            time.sleep(PAUSE)
            with self.lock:
                self.computing -= 1
        self.step("encode")
        self.hold(-self.need)
        if task.source.name.startswith("bad"):
            raise ValueError(task.source.name)
        return Result(task.source.name, time.perf_counter() - start)

    def step(self, name):
        for _ in range(5):
            self.overlapped[name] |= bool(self.computing)
            time.sleep(PAUSE / 5)


def tasks(*names):
    return [Task(Path(name), Path(name), OutputSize(2), None) for name in names]


def test_reading_and_encoding_overlap_with_computing(monkeypatch):
    machine = Machine(monkeypatch, None, 100)
    done = list(outcomes(tasks(*"abcdefgh"), machine.upscale))
    assert {outcome.result.name for outcome in done} == set("abcdefgh")
    assert machine.overlapped == {"read": True, "encode": True}
    assert machine.most_computing == 1
    assert machine.most <= 300


@pytest.mark.parametrize("limit", [100, 150, 199, 200, 250, 300])
def test_memory_is_not_promised_twice(monkeypatch, limit):
    machine = Machine(monkeypatch, limit, 100)
    start = time.perf_counter()
    done = list(outcomes(tasks(*"abcdefgh"), machine.upscale, limit))
    took = time.perf_counter() - start
    assert [outcome.error for outcome in done] == [None] * 8
    assert machine.most <= limit
    assert any(machine.overlapped.values()) == (limit >= 200)
    if limit < 200:
        assert machine.released == 8, "what an image has freed does not count for the next"
        spent = sum(outcome.result.seconds for outcome in done)
        assert spent <= took, "an image's seconds are without those that it waits for others"


def test_work_that_is_cut_small_waits_until_it_is_alone(monkeypatch):
    """So that the pieces, and with inexact encoders the result, depend on nothing else."""
    machine = Machine(monkeypatch, None, 100)
    whole = machine.prepare

    def prepare():
        rendering = whole()
        rendering.is_fastest = not machine.held
        return rendering

    machine.prepare = prepare
    assert len(list(outcomes(tasks(*"abcd"), machine.upscale))) == 4
    assert machine.most == 100


def test_failures_stop_nothing(monkeypatch):
    machine = Machine(monkeypatch, 100, 100)
    done = list(outcomes(tasks("a", "bad1", "b", "bad2", "bad3", "c"), machine.upscale, 100))
    assert {o.result.name for o in done if o.result} == {"a", "b", "c"}
    assert {str(o.error) for o in done if o.error} == {"bad1", "bad2", "bad3"}
    assert machine.held == 0


def test_what_does_not_fit_at_all_is_an_error(monkeypatch):
    machine = Machine(monkeypatch, 100, 100)

    def prepare():
        raise MemoryBudgetError("never")

    machine.prepare = prepare
    done = list(outcomes(tasks("a", "b", "c"), machine.upscale, 100))
    assert [type(o.error) for o in done] == [MemoryBudgetError] * 3


def test_a_signal_wakes_whoever_waits(monkeypatch):
    machine = Machine(monkeypatch, 100, 100)

    def stop(task, turn):
        if task.source.name == "b":
            monkeypatch.setattr(interrupts, "_noted", 15)
            interrupts.check()
        return machine.upscale(task, turn)

    with pytest.raises(interrupts.Interrupted):
        list(outcomes(tasks(*"abcdef"), stop, 100))
    assert not any(t.name.startswith("clit-image") for t in threading.enumerate())


def test_a_turn_that_ends_early_lets_the_next_one_in():
    turns = Turns(None)

    def fail(turn):
        turn.prepared(lambda: Rendering(Forecast(10)))
        raise OSError("disk")

    for _ in range(3):
        with pytest.raises(OSError, match="disk"), turns.turn() as turn:
            fail(turn)
    with turns.turn() as turn:
        turn.prepared(lambda: Rendering(Forecast(10)))
