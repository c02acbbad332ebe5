"""Files that appear under their name only when they are whole."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sys
from typing import TYPE_CHECKING

from clit_deploy.errors import OutputError, OutputExistsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it on success, remove it on any failure.

    Raises:
        OutputError: the folder is missing or not writable, or the disk is full.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(
            error.errno, f"{path} cannot be written: {_reason(error, path)}"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # what could not be made need not be removed
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Keep other processes from doing `what` to `path`; the lock ends with the process.

    Raises:
        OutputError: another process holds it, or the folder is not writable.
    """
    beside = path.with_name(f".{path.name}.lock")
    try:
        handle = os.open(beside, os.O_CREAT | os.O_RDWR)
    except OSError as error:
        raise OutputError(
            error.errno, f"{path} cannot be written: {_reason(error, path)}"
        ) from error
    try:
        _lock(handle)
        yield
    except BlockingIOError as error:
        raise OutputError(
            errno.EBUSY, f"Another process is {what} {path}; wait for it, or stop it."
        ) from error
    finally:
        os.close(handle)
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def _lock(handle: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError from error
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_file(path: Path) -> bool:
    """Whether a path is a regular file that can be looked at; names too long are none."""
    try:
        return path.is_file()
    except OSError:
        return False


def check_writable(path: Path, *, force: bool) -> None:
    """Refuse early what could only fail late.

    Raises:
        OutputExistsError: the file exists and `force` is not given.
        OutputError: the path is a folder, or its folder is missing or not writable.
    """
    try:
        taken, folder = path.exists(), path.is_dir()
    except OSError as error:
        raise OutputError(
            error.errno, f"{str(path)[:80]} cannot be written: {error.strerror}."
        ) from error
    if folder:
        raise OutputError(errno.EISDIR, f"{path} is a folder; name a file.")
    if taken and not force:
        raise OutputExistsError(f"{path} exists; use --force to overwrite it, or -o for another.")
    if not path.parent.is_dir():
        raise OutputError(errno.ENOENT, f"The folder {path.parent} does not exist.")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(errno.EACCES, f"The folder {path.parent} is not writable.")


def _reason(error: OSError, path: Path) -> str:
    if error.errno == errno.ENOSPC:
        return "the disk is full. Nothing was left behind."
    if error.errno == errno.ENOENT:
        return f"the folder {path.parent} does not exist."
    return f"{error.strerror or error}."
