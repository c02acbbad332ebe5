"""Signals that stop a command: noted when they come, obeyed where the work can stop.

A command runs on a thread of its own, so the main thread can handle signals during any native call.
The handler only notes the first signal. The work ends at its next safe point, where `check` raises
`Interrupted`. If it does not get there within `GRACE`, the process ends without it. A second signal
ends the process at once.

Nothing changes without `run`: a program that uses the package as a library keeps its own handlers,
and `check` does nothing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING, NoReturn

from clit_deploy.system.threads import thread_limit_explained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
POLL = 0.05
"""Seconds between two looks at the note; Windows handles no signal during a wait."""
GRACE = 0.8
"""Seconds that the work has to reach a safe point; with an import that delays the handler, and the
end of the process, less than two."""

_noted: int | None = None
_listeners: list[Callable[[], None]] = []
_leftovers: set[Path] = set()
_kept: set[Path] = set()


class Interrupted(BaseException):
    """A signal asked the work to stop. Handlers of errors do not catch it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by signal {number}")
        self.exit_code = 128 + number


def check() -> None:
    """A safe point: nothing is half done here.

    Raises:
        Interrupted: a signal was noted.
    """
    if _noted is not None:
        raise Interrupted(_noted)


def requested() -> bool:
    """Whether a signal was noted, for callbacks of native code that must not raise."""
    return _noted is not None


def listen(stop: Callable[[], None]) -> None:
    """Call `stop` once, on the main thread, after a signal: it makes native calls return early."""
    _listeners.append(stop)


@contextlib.contextmanager
def leftover(path: Path) -> Iterator[None]:
    """Remove a file at the end of the block, and also where a signal ends the process inside it."""
    _leftovers.add(path)
    try:
        yield
    finally:
        _remove(path)
        _leftovers.discard(path)


def keep(path: Path) -> None:
    """Say at a signal that a file keeps unfinished work, until `forget`."""
    _kept.add(path)


def forget(path: Path) -> None:
    """The work that a file kept is finished."""
    _kept.discard(path)


def kept() -> list[Path]:
    """Files that keep unfinished work."""
    return sorted(_kept)


def note_signals() -> None:
    """Install the handlers, as early as possible: imports may take seconds."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup sets it
            signal.signal(number, _note)


def run(work: Callable[[], None], abandon: Callable[[], None]) -> None:
    """Do `work` on a thread of its own and let signals stop it. For the main thread.

    Args:
        work: the whole command.
        abandon: the last words of a process whose work did not stop in time.

    Raises:
        Interrupted: a signal came, and the work stopped.
        ThreadLimitError: no thread can be started.
        BaseException: whatever `work` raises.
    """
    note_signals()
    check()
    raised: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=guarded, name="clit-command", daemon=True)
    with thread_limit_explained():
        thread.start()
    while thread.is_alive() and not requested():
        thread.join(POLL)
    if thread.is_alive():
        _stop(thread, abandon)
    if raised:
        raise raised[0]


def finish() -> None:
    """Ignore signals from here on: the work is done, and one that comes while the interpreter ends
    would make it look as if it were not."""
    for each in SIGNALS:
        if signal.getsignal(each) is _note:
            signal.signal(each, signal.SIG_IGN)


def _note(number: int, _: object) -> None:
    global _noted
    _noted = number
    for each in SIGNALS:
        if signal.getsignal(each) is _note:
            signal.signal(each, signal.SIG_DFL)


def _stop(thread: threading.Thread, abandon: Callable[[], None]) -> None:
    for stop in _listeners:
        stop()
    thread.join(GRACE)
    if thread.is_alive():
        _end(abandon)


def _end(abandon: Callable[[], None]) -> NoReturn:
    """End the process as it is. Files get their names when they are whole, so none is damaged."""
    for path in tuple(_leftovers):
        _remove(path)
    abandon()
    os._exit(128 + (_noted or 0))


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # what could not be made does not need to be removed
        path.unlink(missing_ok=True)
