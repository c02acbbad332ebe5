"""Several images in work at once: while one computes, the next is read and the last is encoded."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from clit_deploy.errors import MemoryBudgetError
from clit_deploy.system import memory
from clit_deploy.system.interrupts import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clit_deploy.render.renderer import Rendering


class Turn:
    """One image's share of the machine. This one has it to itself."""

    waited = 0.0
    """Seconds that the image has waited for others."""

    def prepared(self, prepare: Callable[[], Rendering]) -> Rendering:
        """Decide how the work is cut, as soon as its memory is free. Nothing is decoded before."""
        return prepare()

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        """The time in which the image may compute."""
        yield


ALONE = Turn()


class Turns:
    """Admits images to memory, one after the other, and lets one of them compute.

    An image is admitted beside others only if the predicted peaks of all of them fit, without
    cutting the work into smaller pieces: so results do not depend on what else is in work.

    Args:
        max_memory: bytes that the process may hold; None takes what the machine has available.
    """

    def __init__(self, max_memory: int | None) -> None:
        self._max_memory = max_memory
        self.ahead = threading.Lock()  # held by the one image that is read before its turn
        self.device = threading.Lock()  # held by the image that computes
        self._changed = threading.Condition()
        self._admitted = 0
        self._predicted = 0

    @contextlib.contextmanager
    def turn(self) -> Iterator[Turn]:
        """The turn of one image, from reading it to the end of writing it."""
        shared = _SharedTurn(self)
        try:
            yield shared
        finally:
            shared.leave()

    def admit(self, prepare: Callable[[], Rendering]) -> Rendering:
        """Wait until an image fits beside those that are in work, and count it."""
        with self._changed:
            while True:
                check()
                rendering = self._fitting(prepare)
                if rendering is not None:
                    break
                self._changed.wait()
            self._admitted += 1
        return rendering

    def _fitting(self, prepare: Callable[[], Rendering]) -> Rendering | None:
        if not self._admitted:
            memory.release_freed()  # or what earlier images have freed would count as in use
            rendering = prepare()
            self._predicted = rendering.forecast.peak
            return rendering
        try:
            rendering = prepare()
        except MemoryBudgetError:  # it may fit when the others are done
            return None
        growth = max(self._predicted - memory.resident(), 0)  # of the others
        peak, limit = rendering.forecast.peak + growth, memory.limit(self._max_memory)
        if not rendering.is_fastest or (limit is not None and peak > limit):
            return None
        self._predicted = max(self._predicted, peak)
        return rendering

    def dismiss(self) -> None:
        """An image is written, or has failed."""
        with self._changed:
            self._admitted -= 1
            self._changed.notify_all()


class _SharedTurn(Turn):
    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._is_ahead = self._is_admitted = False

    def prepared(self, prepare: Callable[[], Rendering]) -> Rendering:
        start = time.perf_counter()
        self._turns.ahead.acquire()
        self._is_ahead = True
        rendering = self._turns.admit(prepare)
        self._is_admitted = True
        self.waited += time.perf_counter() - start
        return rendering

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        start = time.perf_counter()
        with self._turns.device:
            self.waited += time.perf_counter() - start
            self._let_next_ahead()
            check()
            yield

    def leave(self) -> None:
        self._let_next_ahead()
        if self._is_admitted:
            self._turns.dismiss()

    def _let_next_ahead(self) -> None:
        if self._is_ahead:
            self._is_ahead = False
            self._turns.ahead.release()
