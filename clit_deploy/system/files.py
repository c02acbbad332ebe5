"""Checks of paths, and files that appear under their name only when they are complete."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import sys
import time
from typing import TYPE_CHECKING, BinaryIO

from clit_deploy.errors import MissingFileError, OutputError, OutputExistsError
from clit_deploy.system.interrupts import check, leftover
from clit_deploy.system.locks import NO_LINK, is_at, try_lock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
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
        remove_abandoned(target.parent)
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
    room = longest_name(target.parent) - len("..01234567.clit.part")
    stem = os.fsencode(target.name)[:room].decode(errors="ignore") or "output"
    for attempt in range(TRIES):
        part = target.with_name(f".{stem}.{secrets.token_hex(4)}.clit.part")
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


@contextlib.contextmanager
def locked_file(path: Path, busy: str) -> Iterator[BinaryIO]:
    """Open a file of records for reading and writing, for one process at a time.

    Args:
        path: the file; it is made if it is missing.
        busy: the message where another process has it.

    Raises:
        OutputError: it cannot be written, or another process has it.
    """
    check_writable(path, force=True)
    flags = os.O_CREAT | os.O_RDWR | NO_LINK | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags, 0o666)
    except OSError as error:
        raise OutputError(error.errno, f"{path} cannot be written: {error.strerror}.") from error
    with os.fdopen(handle, "r+b") as file:
        if not try_lock(handle):
            raise OutputError(errno.EBUSY, busy)
        yield file


def make_folders(folders: Iterable[Path]) -> None:
    """Make folders for results, and remove what killed processes left in those that exist.

    Raises:
        OutputError: one cannot be made.
    """
    for folder in sorted(folders):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            remove_abandoned(folder)
        except OSError as error:
            raise _output_error(error, folder) from error


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder.

    Raises:
        OSError: the folder cannot be listed.
    """
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


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            found.update(part)
    return found.hexdigest()


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


def is_stream(path: Path) -> bool:
    """Whether a path is stdin or stdout (`-`), a pipe or a device, which can be read once only."""
    try:
        return str(path) == "-" or (path.exists() and not path.is_file() and not path.is_dir())
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


def longest_name(folder: Path) -> int:
    """The most bytes that a file name may have in a folder."""
    with contextlib.suppress(OSError, AttributeError, ValueError):  # Windows cannot say
        return os.pathconf(folder, "PC_NAME_MAX")
    return 255


def check_writable(path: Path, *, force: bool, make_folder: bool = False) -> None:
    """Check an output file before the work begins; a stream is written in any case.

    Args:
        path: the file; of a link, what it leads to.
        force: an existing file may be overwritten, a read-only one as well.
        make_folder: the folder may be missing, because it is going to be made.

    Raises:
        OutputExistsError: the file exists and `force` is not given.
        OutputError: the path is a folder, its name is too long, or its folder is missing or not
            writable.
    """
    if is_stream(path):
        return
    try:
        target = path.resolve()
        folder = target.parent
        while make_folder and not folder.exists() and folder.parent != folder:
            folder = folder.parent
        length, most = len(os.fsencode(target.name)), longest_name(folder)
        taken = length <= most and target.exists()
    except (OSError, RuntimeError) as error:  # a path that is too long, or a circle of links
        reason = getattr(error, "strerror", None) or "its links form a circle"
        raise OutputError(
            getattr(error, "errno", None), f"{str(path)[:80]} cannot be written: {reason}."
        ) from error
    if length > most:
        raise OutputError(
            errno.ENAMETOOLONG,
            f"The name {target.name[:60]}... has {length} bytes, and this file system takes "
            f"{most}; name the output with -o.",
        )
    if taken and target.is_dir():
        raise OutputError(errno.EISDIR, f"{path} is a folder; name a file.")
    if taken and not force:
        raise OutputExistsError(f"{path} exists; use --force to overwrite it, or another name.")
    _check_folder_writable(folder)


def _check_folder_writable(folder: Path) -> None:
    if not folder.is_dir():
        raise OutputError(errno.ENOENT, f"The folder {folder} does not exist.")
    if not os.access(folder, os.W_OK):
        raise OutputError(errno.EACCES, f"The folder {folder} is not writable.")


def is_read_only(path: Path) -> bool:
    """Whether a file exists that nobody may write, which also root respects here."""
    try:
        return not path.stat().st_mode & 0o222
    except OSError:
        return False


def _output_error(error: OSError, path: Path) -> OutputError:
    return OutputError(error.errno, f"{path} cannot be written: {_reason(error, path)}")


def _reason(error: OSError, path: Path) -> str:
    if error.errno == errno.ENOSPC:
        return "the disk is full. Nothing was left behind."
    if error.errno == errno.ENOENT:
        return f"the folder {path.parent} does not exist."
    return f"{error.strerror or error}."
