"""Locks between processes. They end with the process that holds them, however it ends."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING

from clit_deploy.errors import OutputError
from clit_deploy.system.interrupts import leftover

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NO_LINK = getattr(os, "O_NOFOLLOW", 0)
"""A lock file that is a link could make this process create a file elsewhere. Not on Windows."""


@contextlib.contextmanager
def locked(path: Path, action: str) -> Iterator[None]:
    """Hold the lock of a file while doing `action` ("building engines into").

    Raises:
        OutputError: another process holds the lock, or the folder is not writable.
    """
    target = path.resolve()
    beside = target.with_name(f".{target.name}.lock")
    while True:
        try:
            handle = os.open(beside, os.O_CREAT | os.O_RDWR | NO_LINK, 0o666)
        except OSError as error:
            raise OutputError(
                error.errno, f"The lock {beside} cannot be made: {error.strerror}."
            ) from error
        if not try_lock(handle):
            os.close(handle)
            raise OutputError(
                errno.EBUSY, f"Another process is {action} {path}; wait for it, or stop it."
            )
        if is_at(handle, beside):
            break
        os.close(handle)  # the process before removed the file, so the lock keeps nobody out
    with contextlib.ExitStack() as at_end:
        if sys.platform == "win32":  # no file is removed there while it is open
            at_end.enter_context(leftover(beside))
            at_end.callback(os.close, handle)
        else:
            at_end.callback(os.close, handle)
            at_end.enter_context(leftover(beside))
        yield


def try_lock(handle: int) -> bool:
    """Lock an open file; False if another process holds it or the file system has no locks."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_at(handle: int, path: Path) -> bool:
    """Whether a path is still the name of an open file."""
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except OSError:
        return False
