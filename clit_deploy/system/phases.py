"""The time that a run spends in each phase, recorded by the thread that waits for it."""

from __future__ import annotations

import contextlib
from contextvars import ContextVar, Token
from time import perf_counter_ns
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class Phase(NamedTuple):
    """A phase of one run; start and stop in ns of `time.perf_counter_ns`."""

    name: str
    start: int
    stop: int


class Recorder:
    """Collects the phases of its thread inside a `with` block.

    Worker threads do not inherit a context variable. Their parallel work is not counted beside the
    phase of the thread that waits for them, so phases add up.
    """

    def __init__(self) -> None:
        self.phases: list[Phase] = []
        self._token: Token[Recorder | None] | None = None

    def __enter__(self) -> Recorder:
        self._token = _recorder.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _recorder.reset(self._token)


def phase(name: str) -> AbstractContextManager[None]:
    """Mark a phase: `with phase("encoder"):`. Phases do not nest; only a `Recorder` keeps them."""
    recorder = _recorder.get()
    return _NOTHING if recorder is None else _Open(recorder.phases, name)


class _Open(contextlib.AbstractContextManager[None]):
    def __init__(self, phases: list[Phase], name: str) -> None:
        self._phases, self._name = phases, name

    def __enter__(self) -> None:
        self._start = perf_counter_ns()

    def __exit__(self, *_: object) -> None:
        self._phases.append(Phase(self._name, self._start, perf_counter_ns()))


_recorder: ContextVar[Recorder | None] = ContextVar("recorder", default=None)
_NOTHING = contextlib.nullcontext()
