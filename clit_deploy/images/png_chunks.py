"""Chunks of a PNG beside its pixels (PNG, third edition, section 11.3)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Chunk = tuple[bytes, bytes]

COLOR = (b"cICP", b"gAMA", b"cHRM", b"sRGB", b"mDCV", b"cLLI")
"""Chunks that say how the pixels are encoded; the profile is apart."""

TEXT = (b"tEXt", b"zTXt", b"iTXt", b"tIME")

XMP = b"XML:com.adobe.xmp\0"
"""The start of the text chunk that holds XMP."""

INCH = 0.0254
"""In meters."""

LONGEST = 1 << 26
"""Bytes of a chunk that is read; longer ones are passed over."""

_WANTED = {*COLOR, *TEXT, b"pHYs", b"eXIf"}


def read_chunks(path: Path) -> list[Chunk]:
    """Kinds and contents of the chunks of a PNG file that a result may keep.

    They may come after the pixels, which are passed over. A file that is cut off gives what it has.
    """
    found = []
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind in _WANTED and length <= LONGEST:
                found.append((kind, file.read(length)))
                file.seek(4, 1)
            else:
                file.seek(length + 4, 1)
    return found


def content(chunks: list[Chunk], kind: bytes) -> bytes | None:
    """The content of the first chunk of a kind."""
    return next((data for found, data in chunks if found == kind), None)


def resolution(chunks: list[Chunk]) -> tuple[float, float] | None:
    """Pixels an inch, across and down, that a pHYs chunk states in meters."""
    found = content(chunks, b"pHYs")
    if found is None or len(found) != 9 or found[8] != 1:
        return None
    across, down = struct.unpack(">II", found[:8])
    return (across * INCH, down * INCH) if across and down else None


def physical(dpi: tuple[float, float]) -> Chunk:
    """The pHYs chunk for pixels an inch."""
    return b"pHYs", struct.pack(">IIB", *(min(round(d / INCH), 1 << 30) for d in dpi), 1)


def kept_chunks(chunks: list[Chunk]) -> Iterator[Chunk]:
    """The chunks of color and text that a result takes over as they are."""
    for kind, data in chunks:
        if kind in COLOR or (kind in TEXT and not _is_stated_anew(kind, data)):
            yield kind, data


def _is_stated_anew(kind: bytes, data: bytes) -> bool:
    """Whether a chunk holds what a result states itself: XMP, the time of the last change."""
    return kind == b"tIME" or data.startswith(XMP)
