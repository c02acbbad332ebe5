"""How long graphs may be used: until they are closed, and by the process that opened them."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from clit_deploy.errors import ClosedError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Lifetime:
    """Counts the work in progress, so that closing waits for it and later work is refused.

    A forked process has none of the threads that run graphs; waiting for them would never end.
    """

    def __init__(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._working = 0
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether `end` was called."""
        return self._closed

    def check(self) -> None:
        """Refuse use after the end.

        Raises:
            ClosedError: closed, or this process was forked from the one that opened the graphs.
        """
        if self._forked():  # before any lock, which a thread of the parent may have held
            raise ClosedError(
                "This upscaler was loaded before the process was forked, and threads do not "
                "survive a fork; load the plan in the new process."
            )
        if self._closed:
            raise ClosedError("This upscaler is closed; load the plan again.")

    @contextmanager
    def work(self) -> Iterator[None]:
        """A piece of work that closing waits for. Keep it short, and call no one else's code in it.

        Raises:
            ClosedError: see `check`.
        """
        self.check()
        with self._changed:
            self.check()
            self._working += 1
        try:
            yield
        finally:
            with self._changed:
                self._working -= 1
                self._changed.notify_all()

    def end(self) -> bool:
        """Refuse work from now on, and wait for what is in progress.

        Returns: whether there is anything to release: not the second time, and not in a fork.
        """
        if self._forked():
            self._closed = True
            return False
        with self._changed:
            first, self._closed = not self._closed, True
            self._changed.wait_for(lambda: self._working == 0)
        return first

    def _forked(self) -> bool:
        return os.getpid() != self._process
