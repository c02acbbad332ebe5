"""When a runtime may be used: not after it was closed, and not in a forked child.

A fork copies a runtime without its threads; whatever waits for them, even to end them, waits for
ever.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING

from clit_deploy.errors import ClosedError
from clit_deploy.system import interrupts

if TYPE_CHECKING:
    from collections.abc import Callable

CLOSED = "This runtime is closed; load the plan again."

_USAGES: weakref.WeakSet[Usage] = weakref.WeakSet()
_LOCK = threading.Lock()
"""Held while `_USAGES` changes or is read."""


class Usage:
    """Counts what is under way on a runtime: `with usage:` around each native call.

    Args:
        stop: makes the native calls that are under way return early.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self.stop = stop
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._under_way = 0
        self._closed = False
        with _LOCK:
            _USAGES.add(self)

    def __enter__(self) -> None:
        self.check()
        with self._lock:
            if self._closed:
                raise ClosedError(CLOSED)
            self._under_way += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._under_way -= 1
            if self._closed:
                self._idle.notify_all()

    @property
    def forked(self) -> bool:
        """Whether this process is a child of the one that opened the runtime."""
        return os.getpid() != self._pid

    def check(self) -> None:
        """Refuse work that must not begin, and explain work that was stopped.

        Raises:
            Interrupted: a signal was noted.
            ClosedError: the runtime was closed, or this process is a forked child.
        """
        interrupts.check()
        if self.forked:
            raise ClosedError(
                "This runtime was opened before the process forked, and does not work in the "
                "child; load the plan again there."
            )
        if self._closed:
            raise ClosedError(CLOSED)

    def close(self) -> bool:
        """Stop what is under way, wait for it, and let nothing begin.

        Returns: whether the runtime is to be released: once, and not in a forked child.
        """
        if self.forked:
            return False
        with self._idle:
            first, self._closed = not self._closed, True
            if self._under_way:
                self.stop()
            self._idle.wait_for(lambda: not self._under_way)
        return first


def _stop_all() -> None:
    with _LOCK:
        usages = tuple(_USAGES)
    for usage in usages:
        usage.stop()


interrupts.listen(_stop_all)
