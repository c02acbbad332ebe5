"""EXIF of a result: the input's, changed in place, so that every other tag stays what it was.

Notes of camera makers point to places in the block, so nothing moves (EXIF 3.0, section 4.6; the
block is a small TIFF file).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clit_deploy.grid.cascade import Size

ORIENTATION = 0x0112
"""Tag: how the stored image has to be turned to be shown, 1 to 8."""
_WIDTH, _HEIGHT = 0xA002, 0xA003
_SUBDIRECTORY = 0x8769
_DIRECTORIES = (_SUBDIRECTORY, 0x8825)
_RESOLUTION = (0x011A, 0x011B)
_THUMBNAIL, _THUMBNAIL_BYTES = 0x0201, 0x0202

_SHORT, _LONG, _RATIONAL = 3, 4, 5
_TYPE_BYTES = (0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8)

_HEAD = b"Exif\0\0"


class _Block:
    """Bytes of EXIF that can be changed in place. Reading beyond their end is a `struct.error`."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        self._order = "<" if data[:2] == b"II" else ">"
        if data[:2] not in (b"II", b"MM") or self.read("H", 2) != 42:
            raise struct.error("no byte order")

    def read(self, kind: str, at: int) -> int:
        value: int = struct.unpack_from(self._order + kind, self.data, at)[0]
        return value

    def write(self, kind: str, at: int, value: int) -> None:
        struct.pack_into(self._order + kind, self.data, at, value)

    def entries(self, directory: int) -> Iterator[tuple[int, int]]:
        """Tag and place of each entry of a directory."""
        for index in range(self.read("H", directory)):
            at = directory + 2 + 12 * index
            yield self.read("H", at), at

    def value(self, at: int) -> int:
        """The value of an entry that holds one whole number."""
        return self.read("H" if self.read("H", at + 2) == _SHORT else "I", at + 8)

    def set_value(self, at: int, value: int) -> None:
        """Give an entry one whole number; what does not fit 16 bits becomes a LONG."""
        short = self.read("H", at + 2) == _SHORT and value < 1 << 16
        self.write("H", at + 2, _SHORT if short else _LONG)
        self.write("I", at + 4, 1)
        self.write("I", at + 8, 0)
        self.write("H" if short else "I", at + 8, value)

    def drop_broken(self, directory: int) -> None:
        """Take out entries whose values are outside the block or of an impossible type."""
        kept = [
            bytes(self.data[at : at + 12])
            for tag, at in self.entries(directory)
            if self._is_sound(tag, at)
        ]
        count = self.read("H", directory)
        after = directory + 2 + 12 * count
        tail = bytes(self.data[after : after + 4]).ljust(4, b"\0")
        table = b"".join(kept) + tail
        self.data[directory + 2 : after + 4] = table.ljust(12 * count + 4, b"\0")
        self.write("H", directory, len(kept))

    def _is_sound(self, tag: int, at: int) -> bool:
        kind, count = self.read("H", at + 2), self.read("I", at + 4)
        if not 0 < kind < len(_TYPE_BYTES) or (tag in _RESOLUTION and kind != _RATIONAL):
            return False
        length = _TYPE_BYTES[kind] * count
        return length <= 4 or self.read("I", at + 8) + length <= len(self.data)

    def drop_thumbnail(self, directory: int) -> None:
        """Take out the second directory, which describes a small copy, and the copy."""
        link = directory + 2 + 12 * self.read("H", directory)
        second = self.read("I", link)
        self.write("I", link, 0)
        if not 0 < second < len(self.data) - 2:
            return
        found = {tag: self.value(at) for tag, at in self.entries(second)}
        start, length = found.get(_THUMBNAIL, 0), found.get(_THUMBNAIL_BYTES, 0)
        if not 8 <= start <= start + length <= len(self.data):
            return
        if start + length >= len(self.data) - 1:
            del self.data[start:]
        else:
            self.data[start : start + length] = bytes(length)


def bare(data: bytes | None) -> bytes | None:
    """EXIF without the mark that JPEG puts before it; None if there is nothing."""
    found = (data or b"").removeprefix(_HEAD)
    return found or None


def marked(data: bytes) -> bytes:
    """EXIF with the mark that JPEG puts before it."""
    return _HEAD + data


def orientation(data: bytes | None) -> int:
    """The orientation, 1 to 8, that EXIF states; 1 if it states none that is known."""
    try:
        block = _Block(data or b"")
        for tag, at in block.entries(block.read("I", 4)):
            if tag == ORIENTATION:
                found = block.value(at)
                return found if 1 <= found <= 8 else 1
    except struct.error:
        pass
    return 1


def for_result(data: bytes | None, size: Size) -> bytes | None:
    """EXIF for a result: upright, of this height and width, without a thumbnail.

    Returns: None if there is none, or if it is too damaged to be changed.
    """
    if data is None:
        return None
    try:
        block = _Block(data)
        first = block.read("I", 4)
        block.drop_broken(first)
        block.drop_thumbnail(first)
        for tag, at in list(block.entries(first)):
            if tag == ORIENTATION:
                block.set_value(at, 1)
            elif tag in _DIRECTORIES:
                block.drop_broken(block.value(at))
            if tag == _SUBDIRECTORY:
                _set_size(block, block.value(at), size)
    except struct.error:
        return None
    return bytes(block.data)


def _set_size(block: _Block, directory: int, size: Size) -> None:
    for tag, at in block.entries(directory):
        if tag in (_WIDTH, _HEIGHT):
            block.set_value(at, size[1] if tag == _WIDTH else size[0])
