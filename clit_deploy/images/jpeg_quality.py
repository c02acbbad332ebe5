"""How strongly a JPEG file was compressed, from its quantization tables."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""Quantization steps for luminance that the standard suggests (ITU-T T.81, table K.1), and that
encoders scale by their quality."""


_TABLES, _SCAN = 0xDB, 0xDA
_ALONE = {0x01, 0xFF, *range(0xD0, 0xD9)}
"""Markers without a segment."""


def segments(path: Path) -> Iterator[tuple[int, bytes]]:
    """Marker and content of the segments of a JPEG file before its first scan (T.81, annex B)."""
    with path.open("rb") as file:
        file.seek(2)
        while len(head := file.read(2)) == 2 and head[0] == 0xFF and head[1] != _SCAN:
            if head[1] == 0xFF:
                file.seek(-1, 1)
            if head[1] in _ALONE:
                continue
            length = int.from_bytes(file.read(2), "big")
            yield head[1], file.read(max(length - 2, 0))


def quality_of(path: Path) -> int | None:
    """The quality of a JPEG file; see `jpeg_quality`."""
    tables: dict[int, Sequence[int]] = {}
    for marker, content in segments(path):
        if marker == _TABLES:
            tables.update(_tables(content))
    return jpeg_quality(tables)


def _tables(content: bytes) -> Iterator[tuple[int, Sequence[int]]]:
    """The quantization tables of a segment, by number; a last one that is cut off is left out."""
    at = 0
    while at < len(content):
        deep, number = content[at] >> 4, content[at] & 15
        kind = ">64H" if deep else ">64B"
        if at + 1 + struct.calcsize(kind) > len(content):
            return
        yield number, struct.unpack_from(kind, content, at + 1)
        at += 1 + struct.calcsize(kind)


def jpeg_quality(tables: Mapping[int, Sequence[int]]) -> int | None:
    """The quality, 1 to 100, whose scaled standard tables come closest to a file's.

    The scale of the Independent JPEG Group is 50 / quality below 50 and 2 - quality / 50 above.
    Encoders with tables of their own get the quality of equal mean step.

    Args:
        tables: the file's quantization tables by number; the first is for luminance.

    Returns: None without a complete table for luminance.
    """
    steps = tables.get(0)
    if steps is None or len(steps) != 64:
        return None
    scale = sum(steps) / sum(map(sum, LUMINANCE))
    quality = 50 / scale if scale > 1 else 100 - 50 * scale
    return min(max(round(quality), 1), 100)
