"""Checks of paths, and files that appear under their name only when they are complete."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import sys
import time
from typing import TYPE_CHECKING

from clit_deploy.errors import MissingFileError, OutputError, OutputExistsError
from clit_deploy.system.interrupts import check, leftover
from clit_deploy.system.locks import NO_LINK, is_at, try_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PART = re.compile(r"\..+\.[0-9a-f]{8}\.clit\.part")
"""Names of temporary files. Their process holds a lock on each, except on Windows, where a locked
file cannot be written."""

OLD = 24 * 3600
"""Seconds after which a temporary file is abandoned where there are no locks."""

TRIES = 3
"""Another process may take a new temporary file for an abandoned one before it is locked."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give an empty temporary file beside `path`; rename it on success, remove it on any failure.

    A link stays and its target is replaced; the mode of an existing file stays. Temporary files
    that killed processes left in the folder are removed.

    Raises:
        OutputError: the folder is missing or not writable, or the disk is full.
    """
    try:
        target = path.resolve()
        _remove_abandoned(target.parent)
        part, handle = _create(target)
    except OSError as error:
        raise _output_error(error, path) from error
    try:
        with leftover(part):
            yield part
            check()
            _publish(part, target)
    except OutputError:
        raise
    except OSError as error:
        raise _output_error(error, path) from error
    finally:
        os.close(handle)


def _create(target: Path) -> tuple[Path, int]:
    """A new temporary file, and the handle that holds its lock."""
    for attempt in range(TRIES):
        part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.clit.part")
        handle = os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR | NO_LINK, 0o666)
        if sys.platform == "win32":
            os.close(handle)
            return part, os.open(os.devnull, os.O_RDONLY)
        if (try_lock(handle) and is_at(handle, part)) or attempt == TRIES - 1:
            break  # the last one is used without a lock: this file system may have none
        os.close(handle)
    return part, handle


def _publish(part: Path, target: Path) -> None:
    """Bring a finished file to the disk, then under its name."""
    if target.exists():
        part.chmod(target.stat().st_mode & 0o777)
    with part.open("r+b") as file:
        os.fsync(file.fileno())
    part.replace(target)
    if sys.platform != "win32":
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # some file systems cannot
                os.fsync(folder)
        finally:
            os.close(folder)


def _remove_abandoned(folder: Path) -> None:
    for path in folder.iterdir():
        if PART.fullmatch(path.name):
            with contextlib.suppress(OSError):
                if _is_abandoned(path):
                    path.unlink()


def _is_abandoned(path: Path) -> bool:
    """Whether no process holds the lock of a temporary file; without locks, whether it is old."""
    if sys.platform == "win32":
        return time.time() - path.stat().st_mtime > OLD
    handle = os.open(path, os.O_RDWR | NO_LINK)
    try:
        return try_lock(handle)
    finally:
        os.close(handle)


def is_file(path: Path) -> bool:
    """Whether a path is a regular file; False for names that are too long."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether a path is a folder; False for names that are too long."""
    try:
        return path.is_dir()
    except OSError:
        return False


def check_file(path: Path, what: str) -> None:
    """Check that an input file exists.

    Raises:
        MissingFileError: there is nothing, or a folder.
    """
    if is_folder(path):
        raise MissingFileError(f"{path} is a folder; name the {what} in it.")
    if not is_file(path):
        raise MissingFileError(f"There is no {what} {path}.")


def check_folder(path: Path) -> None:
    """Check that a folder of images exists.

    Raises:
        MissingFileError: there is nothing, or a file.
    """
    if is_file(path):
        raise MissingFileError(f"{path} is a file; name a folder with images.")
    if not is_folder(path):
        raise MissingFileError(f"There is no folder {path}; name one with images.")


def check_writable(path: Path, *, force: bool) -> None:
    """Check an output file before the work begins.

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


def _output_error(error: OSError, path: Path) -> OutputError:
    return OutputError(error.errno, f"{path} cannot be written: {_reason(error, path)}")


def _reason(error: OSError, path: Path) -> str:
    if error.errno == errno.ENOSPC:
        return "the disk is full. Nothing was left behind."
    if error.errno == errno.ENOENT:
        return f"the folder {path.parent} does not exist."
    return f"{error.strerror or error}."
