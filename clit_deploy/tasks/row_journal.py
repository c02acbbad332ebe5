"""Finished rows of a result in a file beside it, so that a run that was killed can go on from them.

The file begins with a line of JSON that says what the rows belong to. Then comes a record for every
strip: its length, its number of rows, its checksum, and the rows, deflated. A record that a kill or
a full disk cut off is dropped.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import struct
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from clit_deploy.errors import OptionError, OutputError, ResumeError
from clit_deploy.render.layout import Layout
from clit_deploy.system import interrupts
from clit_deploy.system.files import is_stream, locked_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import Size
    from clit_deploy.tasks.finished_strips import Result

_MAGIC = b"clit-deploy rows 1\n"
_LONGEST_HEAD = 100_000
_RECORD = struct.Struct("<QII")
"""Bytes of the deflated rows, how many rows they are, and their CRC-32."""
_LEVEL = 1
"""Of Deflate: the rows are read once, and the network is slower anyway."""


class RowJournal:
    """Rows of one result, appended as they are finished; use `row_journal`.

    Args:
        file: open for reading and writing, and locked.
        path: its name.
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._run: dict[str, Any] = self._read_head()
        self._start = self._end = file.tell()
        self.finished = 0
        """How many rows are finished."""

    @property
    def layout(self) -> Layout | None:
        """How the run that is continued cut its work; None for a new one."""
        if not self._run:
            return None
        try:
            tile, block = map(int, self._run["layout"])
        except (KeyError, TypeError, ValueError):
            raise self._damaged() from None
        return Layout(tile, block)

    def begin(self, run: Mapping[str, Any]) -> None:
        """Say what the rows belong to, or check that rows which are there belong to it.

        Args:
            run: whatever decides the rows: names, as a user knows them, and values for JSON;
                `layout` is tile and block.

        Raises:
            ResumeError: they belong to another run.
            OutputError: the file cannot be written.
        """
        now = json.loads(json.dumps(run))
        if self._run:
            self._check_same(now)
            self.finished = sum(rows for rows, _ in self._records())
            self._file.truncate(self._end)
        else:
            with self._explained():
                self._file.seek(0)
                self._file.truncate()
                self._file.write(_MAGIC + json.dumps(now).encode() + b"\n")
                self._file.flush()
                self._start = self._end = self._file.tell()
        interrupts.keep(self._path)

    def append(self, rows: NDArray[Any]) -> None:
        """Add finished rows `[n, W, channels]`; they are on the disk when this returns.

        Raises:
            OutputError: the disk is full, or the file cannot be written.
        """
        content = zlib.compress(np.ascontiguousarray(rows).data, _LEVEL)
        head = _RECORD.pack(len(content), len(rows), zlib.crc32(content))
        with self._explained():
            self._file.seek(self._end)
            self._file.write(head + content)
            self._file.flush()
            os.fsync(self._file.fileno())
        self._end += len(head) + len(content)
        self.finished += len(rows)

    def completed(
        self, rows_after: Callable[..., Iterator[NDArray[Any]]], made: Size, result: Result
    ) -> Iterator[NDArray[Any]]:
        """All rows of the result from top to bottom, after those that are missing were computed.

        Args:
            rows_after: computes the rows that come after the first `finished` ones.
            made: height and width of the result.
            result: what its rows are.

        Raises:
            OutputError: the disk is full, or the file cannot be written.
            ResumeError: the file was damaged in the meantime.
        """
        if self.finished < made[0]:
            for rows in rows_after(finished=self.finished):
                self.append(rows)
        for count, content in self._records():
            try:
                found = np.frombuffer(zlib.decompress(content), result.dtype)
                yield found.reshape(count, made[1], result.channels)
            except (zlib.error, ValueError):
                raise self._damaged() from None

    def _records(self) -> Iterator[tuple[int, bytes]]:
        """The records that are whole; `_end` is where they end."""
        place, size = self._start, os.fstat(self._file.fileno()).st_size
        while place + _RECORD.size <= size:
            self._file.seek(place)
            length, rows, checksum = _RECORD.unpack(self._file.read(_RECORD.size))
            if place + _RECORD.size + length > size:
                break
            content = self._file.read(length)
            if zlib.crc32(content) != checksum:
                break
            place += _RECORD.size + length
            yield rows, content
        self._end = place

    def _read_head(self) -> dict[str, Any]:
        """What the rows belong to; empty if nothing is there yet."""
        magic = self._file.read(len(_MAGIC))
        line = self._file.readline(_LONGEST_HEAD)
        if not line.endswith(b"\n") and _MAGIC.startswith(magic):
            return {}  # killed while it began
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if magic != _MAGIC or not isinstance(found, dict):
            raise ResumeError(
                f"{self._path} does not hold the rows of a run; rename it, or delete it."
            )
        return found

    def _check_same(self, now: Mapping[str, Any]) -> None:
        other = [name for name in now if self._run.get(name) != now[name]]
        if other:
            raise ResumeError(
                f"{self._path} belongs to another run ({', '.join(other)} differ); repeat that "
                "run to go on with it, or delete the file to begin again."
            )

    def _damaged(self) -> ResumeError:
        return ResumeError(f"{self._path} is damaged; delete it to begin again.")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Errors of writing, with what becomes of the finished rows."""
        try:
            yield
        except OSError as error:
            full = error.errno == errno.ENOSPC
            raise OutputError(
                error.errno,
                f"{self._path} cannot be written: "
                f"{'the disk is full' if full else error.strerror}. It keeps the finished rows; "
                f"{'free some space and ' if full else ''}repeat the command to go on.",
            ) from error


def check_resumable(source: Path, target: Path) -> None:
    """Refuse to resume a result that is not a file, or one of an image that comes only once.

    Raises:
        OptionError: it is.
    """
    for path in (source, target):
        if is_stream(path):
            raise OptionError(f"--resume needs files, and {path} is a stream.")


@contextlib.contextmanager
def row_journal(target: Path) -> Iterator[RowJournal]:
    """The finished rows of a result. They are removed when the block ends without an error, and
    kept otherwise.

    Raises:
        ResumeError, OutputError: see `kept_rows`.
    """
    path = target.with_name(f"{target.name}.resume")
    with kept_rows(path, f"Another process works on {target}; wait for it, or stop it.") as journal:
        yield journal
    path.unlink(missing_ok=True)
    interrupts.forget(path)


@contextlib.contextmanager
def kept_rows(path: Path, busy: str) -> Iterator[RowJournal]:
    """Finished rows in a file, which stays unless nothing was written into it.

    Args:
        path: the file; it is made if it is missing.
        busy: the message where another process has it.

    Raises:
        ResumeError: the file is not one of rows.
        OutputError: it cannot be written, or another process works on it.
    """
    with locked_file(path, busy) as file:
        try:
            journal = RowJournal(file, path)
            if journal.layout is not None:
                interrupts.keep(path)
            yield journal
        except BaseException:
            _remove_if_empty(file, path)
            raise


def _remove_if_empty(file: BinaryIO, path: Path) -> None:
    with contextlib.suppress(OSError):
        if os.fstat(file.fileno()).st_size == 0:
            path.unlink()
