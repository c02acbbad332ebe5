"""Files that appear under their name only when they are whole."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sys
from typing import TYPE_CHECKING

from clit_deploy.errors import MissingFileError, OutputError, OutputExistsError
from clit_deploy.system.interrupts import check, leftover

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
        with leftover(part):
            yield part
            check()
            part.replace(path)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(
            error.errno, f"{path} cannot be written: {_reason(error, path)}"
        ) from error


@contextlib.contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Keep other processes from doing `what` to `path`; the lock ends with the process.

    Raises:
        OutputError: another process holds it, or the folder is not writable.
    """
    beside = path.with_name(f".{path.name}.lock")
    while True:
        try:
            handle = os.open(beside, os.O_CREAT | os.O_RDWR)
        except OSError as error:
            raise OutputError(
                error.errno, f"{path} cannot be written: {_reason(error, path)}"
            ) from error
        if not _lock(handle):
            os.close(handle)
            raise OutputError(
                errno.EBUSY, f"Another process is {what} {path}; wait for it, or stop it."
            )
        if _is_at(handle, beside):
            break
        os.close(handle)  # whoever held it removed the file, so the lock keeps nobody out
    with contextlib.ExitStack() as at_end:
        if sys.platform == "win32":  # no file is removed there while it is open
            at_end.enter_context(leftover(beside))
            at_end.callback(os.close, handle)
        else:
            at_end.callback(os.close, handle)
            at_end.enter_context(leftover(beside))
        yield


def _lock(handle: int) -> bool:
    """Whether nobody else holds it."""
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


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False


def is_file(path: Path) -> bool:
    """Whether a path is a regular file that can be looked at; names too long are none."""
    try:
        return path.is_file()
    except OSError:
        return False


def check_file(path: Path, what: str) -> None:
    """Refuse what is no file.

    Raises:
        MissingFileError: there is nothing, or a folder.
    """
    if is_folder(path):
        raise MissingFileError(f"{path} is a folder; name the {what} in it.")
    if not is_file(path):
        raise MissingFileError(f"There is no {what} {path}.")


def check_folder(path: Path) -> None:
    """Refuse what is no folder.

    Raises:
        MissingFileError: there is nothing, or a file.
    """
    if is_file(path):
        raise MissingFileError(f"{path} is a file; name a folder with pictures.")
    if not is_folder(path):
        raise MissingFileError(f"There is no folder {path}; name one with pictures.")


def is_folder(path: Path) -> bool:
    """Whether a path is a folder that can be looked at."""
    try:
        return path.is_dir()
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
        raise OutputExistsError(f"{path} exists; use --force to overwrite it, or another name.")
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
