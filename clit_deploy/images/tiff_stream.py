"""Rows as a file that libvips can read while it is being made.

It is an uncompressed TIFF (BigTIFF, so that no size is too large). Its header is known before the
first row, and libvips reads the rows in order, so only the rows on their way are held.
"""

from __future__ import annotations

import os
import queue
import struct
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import Size

_STRIP = 16
"""Rows that libvips reads at once."""

_SHORT, _LONG, _LONG8 = 3, 4, 16
_CODES = {_SHORT: "H", _LONG: "I", _LONG8: "Q"}
_POLL = 0.1
"""Seconds between two looks at whether the other side still works."""


class ClosedStreamError(Exception):
    """The reader has ended."""


class RowStream:
    """A file of rows of one size and type; one thread writes rows, libvips reads on its own.

    Args:
        size: height and width in pixels.
        channels: 1 (gray), 2 (gray and alpha), 3 (RGB) or 4 (RGB and alpha).
        dtype: uint8, uint16 or float32.
    """

    def __init__(self, size: Size, channels: int, dtype: np.dtype[Any]) -> None:
        self._type = dtype.newbyteorder("<")
        self._head = _header(size, channels, dtype)
        self._length = len(self._head) + size[0] * size[1] * channels * dtype.itemsize
        self._position = 0
        self._rows: queue.Queue[memoryview | None] = queue.Queue(1)
        self._current = memoryview(b"")
        self._start = len(self._head)
        self._closed = threading.Event()

    def write(self, rows: NDArray[Any]) -> None:
        """Append rows `[n, width, channels]`; waits until the rows before them are taken.

        Raises:
            ClosedStreamError: nobody reads any more.
        """
        self._put(np.ascontiguousarray(rows, self._type).data.cast("B"))

    def finish(self) -> None:
        """Say that no rows come after these.

        Raises:
            ClosedStreamError: nobody reads any more.
        """
        self._put(None)

    def close(self) -> None:
        """End both sides, whatever they wait for."""
        self._closed.set()

    def read(self, count: int) -> bytes:
        """At most so many bytes, for libvips; none at the end."""
        if self._position < len(self._head):
            found = self._head[self._position : self._position + count]
        else:
            found = self._taken(count)
        self._position += len(found)
        return found

    def seek(self, offset: int, whence: int) -> int:
        """Move where the next read starts, for libvips."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        self._position = base + offset
        return self._position

    def _put(self, rows: memoryview | None) -> None:
        while not self._closed.is_set():
            try:
                return self._rows.put(rows, timeout=_POLL)
            except queue.Full:
                continue
        raise ClosedStreamError

    def _taken(self, count: int) -> bytes:
        """Bytes at the position; rows that are behind it are gone."""
        while self._position >= self._start + len(self._current):
            self._start += len(self._current)
            following = self._next()
            if following is None:
                return b""
            self._current = following
        at = self._position - self._start
        return bytes(self._current[at : at + count]) if at >= 0 else b""

    def _next(self) -> memoryview | None:
        while not self._closed.is_set():
            try:
                return self._rows.get(timeout=_POLL)
            except queue.Empty:
                continue
        return None


def _header(size: Size, channels: int, dtype: np.dtype[Any]) -> bytes:
    """Everything before the first row (BigTIFF; tags of TIFF 6.0, section 8)."""
    height, width = size
    count = -(-height // _STRIP)
    row = width * channels * dtype.itemsize
    lengths = np.full(count, _STRIP * row, "<u8")
    lengths[-1] = (height - _STRIP * (count - 1)) * row
    tags: list[tuple[int, int, list[int]]] = [
        (256, _LONG, [width]),
        (257, _LONG, [height]),
        (258, _SHORT, [8 * dtype.itemsize] * channels),
        (259, _SHORT, [1]),  # not compressed
        (262, _SHORT, [1 if channels < 3 else 2]),  # black is zero, or RGB
        (273, _LONG8, []),  # where the strips start
        (277, _SHORT, [channels]),
        (278, _LONG, [_STRIP]),
        (279, _LONG8, lengths.tolist()),
        (284, _SHORT, [1]),  # channels side by side
        *([(338, _SHORT, [2])] if channels in (2, 4) else []),  # alpha
        (339, _SHORT, [3 if dtype.kind == "f" else 1] * channels),
    ]
    table = 16 + 8 + 20 * len(tags) + 8
    first = table + 2 * 8 * count  # the two lists of strips
    starts = first + np.concatenate([[0], np.cumsum(lengths[:-1])]).astype("<u8")
    head = struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, len(tags))
    lists = b""
    for tag, kind, given in tags:
        values = starts.tolist() if tag == 273 else given
        data = struct.pack(f"<{len(values)}{_CODES[kind]}", *values)
        if len(data) > 8:
            place, lists = table + len(lists), lists + data
            data = struct.pack("<Q", place)
        head += struct.pack("<HHQ", tag, kind, len(values)) + data.ljust(8, b"\0")
    return (head + bytes(8) + lists).ljust(first, b"\0")
