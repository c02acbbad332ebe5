"""Tags of the first image of a TIFF file (TIFF 6.0, section 2; BigTIFF)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

WIDTH, HEIGHT, BITS, COMPRESSION, STRIP_ROWS, SAMPLES = 256, 257, 258, 259, 278, 277
TILE_WIDTH, SAMPLE_FORMAT = 322, 339
SUBFILE, PHOTOMETRIC, INNER = 254, 262, 330

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {16: 8, 17: 8, 18: 8}
_WHOLE = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}

UNITS = {kind: 4 if kind in (5, 10) else size for kind, size in _SIZES.items()}
"""Bytes that change places with the byte order, by type; a fraction has two numbers."""

LONGEST = 1 << 24
"""Bytes of a value that is read; longer ones are passed over."""


class Tag(NamedTuple):
    """A value as it is stored: its type, and its bytes in the file's order."""

    kind: int
    data: bytes


class TiffTags:
    """The tags of the first directory. What is cut off or of an unknown type is missing."""

    def __init__(self, file: BinaryIO) -> None:
        head = file.read(16)
        self.order = "<" if head[:2] == b"II" else ">"
        self._big = head[2:4] in (b"+\0", b"\0+")
        start = int.from_bytes(
            head[8:16] if self._big else head[4:8], "little" if self.order == "<" else "big"
        )
        self.tags = self.directory_at(file, start)

    @classmethod
    def of(cls, path: Path) -> TiffTags:
        """The tags of a file."""
        with path.open("rb") as file:
            return cls(file)

    def _unpack(self, kind: str, data: bytes, at: int = 0) -> int:
        value: int = struct.unpack_from(self.order + kind, data, at)[0]
        return value

    def directory_at(self, file: BinaryIO, start: int) -> dict[int, Tag]:
        """The tags of the directory at a place in the file; none if there is no directory."""
        try:
            return self._directory(file, start)
        except (struct.error, OSError, OverflowError):
            return {}

    def _directory(self, file: BinaryIO, start: int) -> dict[int, Tag]:
        count_kind, entry, word = ("Q", 20, 8) if self._big else ("H", 12, 4)
        file.seek(start)
        count = self._unpack(count_kind, file.read(struct.calcsize(count_kind)))
        table = file.read(min(count, 4096) * entry)
        found = {}
        for at in range(0, len(table) - entry + 1, entry):
            tag, kind = self._unpack("H", table, at), self._unpack("H", table, at + 2)
            length = self._unpack("Q" if self._big else "I", table, at + 4) * _SIZES.get(kind, 0)
            place = at + 4 + word
            if 0 < length <= word:
                found[tag] = Tag(kind, table[place : place + length])
            elif 0 < length <= LONGEST:
                file.seek(self._unpack("Q" if self._big else "I", table, place))
                data = file.read(length)
                if len(data) == length:
                    found[tag] = Tag(kind, data)
        return found

    def numbers(self, tag: int) -> tuple[int, ...]:
        """The whole numbers of a tag; none if it is missing or of another type."""
        found = self.tags.get(tag)
        if found is None or found.kind not in _WHOLE:
            return ()
        kind = _WHOLE[found.kind]
        count = len(found.data) // struct.calcsize(kind)
        return struct.unpack(f"{self.order}{count}{kind}", found.data)

    def number(self, tag: int, default: int) -> int:
        """The first whole number of a tag."""
        return next(iter(self.numbers(tag)), default)

    def is_camera_raw(self) -> bool:
        """Whether the image is a sensor's data, or a small preview of it."""
        is_preview = self.number(SUBFILE, 0) & 1 and INNER in self.tags
        return bool(is_preview) or self.number(PHOTOMETRIC, 1) in (32803, 34892)

    def is_narrow_lab(self) -> bool:
        """Whether the pixels are CIE Lab of 8 bits, which libvips 8.18 does not read."""
        return self.number(PHOTOMETRIC, 1) == 8 and self.number(BITS, 1) == 8
