"""The queue does one thing at a time, and nothing that nobody waits for."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError as FutureCancelledError

import pytest

from clit_deploy.errors import BusyError, CancelledError, ClosedError
from clit_deploy.viewer.byte_cache import ByteCache
from clit_deploy.viewer.render_queue import RenderQueue, View

SECONDS = 10


@pytest.fixture
def queue():
    queue = RenderQueue(bound=4)
    yield queue
    queue.close()


class Gate:
    """Work that waits until it is let through, or cancelled."""

    def __init__(self):
        self.started, self.go, self.cancelled = (threading.Event() for _ in range(3))

    def __call__(self, cancel):
        self.started.set()
        while not self.go.wait(0.005):
            if cancel.is_set():
                self.cancelled.set()
                raise CancelledError("stopped")
        return "done"


def test_work_is_done_once_for_all_who_wait(queue):
    gate = Gate()
    first, second = queue.submit("a", gate), queue.submit("a", gate)
    assert gate.started.wait(SECONDS)
    third = queue.submit("a", gate)  # while it runs
    gate.go.set()
    assert [t.future.result(SECONDS) for t in (first, second, third)] == ["done"] * 3
    assert len(queue) == 0


def test_work_is_cancelled_when_the_last_one_leaves(queue):
    gate = Gate()
    first, second = queue.submit("a", gate), queue.submit("a", gate)
    assert gate.started.wait(SECONDS)
    first.drop()
    assert not gate.cancelled.wait(0.05)
    second.drop()
    assert gate.cancelled.wait(SECONDS)
    for ticket in (first, second):
        with pytest.raises(CancelledError):
            ticket.future.result(SECONDS)
    assert queue.submit("a", lambda _: 7).future.result(SECONDS) == 7  # it can be asked for again


def test_what_waits_is_dropped_without_being_done(queue):
    gate, done = Gate(), []
    queue.submit("a", gate)
    assert gate.started.wait(SECONDS)
    waiting = queue.submit("b", done.append)
    waiting.drop()
    waiting.drop()  # twice is once
    gate.go.set()
    assert queue.submit("c", lambda _: "c").future.result(SECONDS) == "c"
    assert done == []


def test_a_view_that_moves_on_drops_its_work_and_no_other_s(queue):
    gate = Gate()
    running = queue.submit("a", gate, view=View("page", 1))
    assert gate.started.wait(SECONDS)
    waiting = queue.submit("b", lambda _: "b", view=View("page", 1))
    other = queue.submit("b", lambda _: "b", view=View("other", 1))
    mine = queue.submit("c", lambda _: "c", view=View("page", 2))
    assert gate.cancelled.wait(SECONDS)
    for ticket in (running, waiting):
        with pytest.raises(CancelledError):
            ticket.future.result(SECONDS)
    assert (other.future.result(SECONDS), mine.future.result(SECONDS)) == ("b", "c")
    with pytest.raises(CancelledError):
        queue.submit("d", lambda _: "d", view=View("page", 1))


def test_a_full_queue_refuses_and_urgent_work_comes_first(queue):
    gate, order = Gate(), []
    queue.submit("gate", gate)
    assert gate.started.wait(SECONDS)
    tickets = [queue.submit(k, lambda _, k=k: order.append(k)) for k in range(3)]
    tickets.append(queue.submit("urgent", lambda _: order.append("urgent"), urgent=True))
    with pytest.raises(BusyError, match="wait a moment"):
        queue.submit("more", order.append)
    gate.go.set()
    for ticket in tickets:
        ticket.future.result(SECONDS)
    assert order == ["urgent", 0, 1, 2]


def test_errors_go_to_those_who_wait_and_the_thread_goes_on(queue):
    def broken(_):
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        queue.submit("a", broken).future.result(SECONDS)

    def stopped(_):
        raise KeyboardInterrupt

    with pytest.raises(ClosedError):
        queue.submit("b", stopped).future.result(SECONDS)
    assert queue.submit("c", lambda _: 1).future.result(SECONDS) == 1


def test_a_closed_queue_cancels_all_and_refuses_more():
    queue = RenderQueue()
    gate = Gate()
    running, waiting = queue.submit("a", gate), queue.submit("b", gate)
    assert gate.started.wait(SECONDS)
    queue.close()
    for ticket in (running, waiting):
        with pytest.raises(CancelledError):
            ticket.future.result(SECONDS)
    assert gate.cancelled.wait(SECONDS)
    with pytest.raises(ClosedError, match="start it again"):
        queue.submit("c", gate)


def test_a_future_that_was_cancelled_is_left_alone(queue):
    gate = Gate()
    ticket = queue.submit("a", gate)
    assert gate.started.wait(SECONDS)
    ticket.future.cancel()
    ticket.drop()
    assert gate.cancelled.wait(SECONDS)
    with pytest.raises(FutureCancelledError):
        ticket.future.result(SECONDS)


def test_pages_are_forgotten_in_the_end(queue):
    for number in range(600):
        queue.submit(number, lambda _: None, view=View(f"p{number}", 5)).future.result(SECONDS)
    assert len(queue._newest) <= 256


@pytest.mark.parametrize("text", [None, "", "a", ":3", "a:", "a:-1", "a:x", "a" * 33 + ":1",
                                  "a:" + "9" * 16])  # fmt: skip
def test_a_view_that_is_not_one_is_none(text):
    assert View.parse(text) is None


def test_a_view():
    assert View.parse("ab12:7") == View("ab12", 7)


def test_bytes_are_kept_up_to_the_limit_latest_use_last():
    cache = ByteCache(100)
    for key in "abc":
        cache.put(key, bytes(30))
    assert cache.get("a") == bytes(30)
    cache.put("d", bytes(30))
    assert (cache.get("b"), cache.held) == (None, 90)
    assert cache.get("a") is not None
    cache.put("a", bytes(10))
    assert cache.held == 70
    cache.put("huge", bytes(101))
    assert cache.get("huge") is None
    assert cache.held <= 100
