"""stdin, stdout and stderr: closed ones are replaced, and stdin is read into a file once."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from clit_deploy.errors import MissingFileError, OutputError
from clit_deploy.system.files import is_stream
from clit_deploy.system.interrupts import leftover

if TYPE_CHECKING:
    from collections.abc import Iterator

DASH = "-"
"""The path that stands for stdin or stdout."""


def replace_closed() -> None:
    """Open the null device in place of closed standard streams.

    Otherwise the next file that is opened gets the number of the closed one, and messages would be
    written into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, os.fdopen(number, mode, closefd=False, errors="replace"))


def seekable(path: Path) -> Path:
    """The file itself, or a temporary copy of a stream, which can be read once only.

    Raises:
        MissingFileError: a stream cannot be read.
    """
    return _copied(path) if is_stream(path) else path


@functools.cache
def _copied(path: Path) -> Path:
    handle, name = tempfile.mkstemp(prefix="clit-deploy-", suffix=".stream")
    until_exit = contextlib.ExitStack()
    until_exit.enter_context(leftover(Path(name)))
    atexit.register(until_exit.close)
    try:
        with os.fdopen(handle, "wb") as copy, _opened(path) as stream:
            shutil.copyfileobj(stream, copy)
    except OSError as error:
        raise MissingFileError(f"{path} cannot be read: {error.strerror}.") from error
    return Path(name)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    if str(path) == DASH:
        yield sys.stdin.buffer
    else:
        with path.open("rb") as file:
            yield file


def send(file: Path, stream: Path) -> None:
    """Write the content of a file to a stream: to stdout, a pipe or a device.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        with file.open("rb") as content:
            if str(stream) == DASH:
                shutil.copyfileobj(content, sys.stdout.buffer)
                sys.stdout.buffer.flush()
            else:
                with stream.open("wb") as out:
                    shutil.copyfileobj(content, out)
    except OSError as error:
        raise OutputError(error.errno, f"{stream} cannot be written: {error.strerror}.") from error
