"""EXIF of TIFF files: their own tags are what other formats hold in a block, itself a small TIFF.

libvips neither reads nor writes these tags, so they are collected from a file into a block, and
added to a file from a block. The notes of camera makers point into the file, so moved ones are lost
to some programs.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from clit_deploy.images.tiff_tags import UNITS, Tag, TiffTags

if TYPE_CHECKING:
    from pathlib import Path

    Entries = dict[int, Tag | bytes]
    """Tags in little-endian order, or whole entries of a directory as they are stored."""

_EXIF, _GPS = 34665, 34853
_LONG, _LONG8 = 4, 16
_DESCRIPTION = 270
_KEPT = {269, _DESCRIPTION, 271, 272, 305, 306, 315, 316, 18246, 33432, *range(40091, 40096)}
"""Tags of the first directory that speak of the image and not of how its pixels are stored: names,
makers, dates, rights, ratings."""
_LAYOUTS = (b"ImageJ=", b'{"shape"', b"<?xml", b"<OME")
"""Starts of descriptions that programs read as the layout of the pixels."""


def exif_of_tiff(path: Path) -> bytes | None:
    """A block of EXIF with the tags of a TIFF file; None if it has none."""
    with path.open("rb") as file:
        found = _directories(file)
    if not any(found.values()):
        return None
    body, first = _nested(found, place=8, big=False)
    return struct.pack("<2sHI", b"II", 42, first) + body


def add_exif_to_tiff(path: Path, exif: bytes) -> None:
    """Add the tags of a block to the first image of a TIFF file that is little-endian.

    The directory moves to the end of the file.
    """
    found = _directories(io.BytesIO(exif))
    with path.open("r+b") as file:
        head = file.read(16)
        big = head[2:4] == b"+\0"
        kind, size, word = ("Q", 20, 8) if big else ("H", 12, 4)
        at = 8 if big else 4
        (start,) = struct.unpack_from("<Q" if big else "<I", head, at)
        file.seek(start)
        (count,) = struct.unpack(f"<{kind}", file.read(struct.calcsize(kind)))
        stored = [file.read(size) for _ in range(count)]
        following = int.from_bytes(file.read(word), "little")
        entries: Entries = {int.from_bytes(entry[:2], "little"): entry for entry in stored}
        place = file.seek(0, io.SEEK_END)
        place += file.write(bytes(-place % 8))
        body, first = _nested(found, place, big=big, entries=entries, following=following)
        if not big and place + len(body) >= 1 << 32:
            return
        file.write(body)
        file.seek(at)
        file.write(first.to_bytes(word, "little"))


def _directories(file: BinaryIO) -> dict[int, dict[int, Tag]]:
    """Tags of the first directory (0) and of those that it points to, in little-endian order."""
    tags = TiffTags(file)
    found = {0: {tag: value for tag, value in tags.tags.items() if _is_kept(tag, value)}}
    for pointer in (_EXIF, _GPS):
        if start := tags.number(pointer, 0):
            inner = tags.directory_at(file, start)
            found[pointer] = {tag: value for tag, value in inner.items() if tag != 40965}
    order = tags.order
    return {
        key: {tag: Tag(value.kind, _swapped(value, order)) for tag, value in inner.items()}
        for key, inner in found.items()
    }


def _is_kept(tag: int, value: Tag) -> bool:
    return tag in _KEPT and not (tag == _DESCRIPTION and value.data.startswith(_LAYOUTS))


def _swapped(value: Tag, order: str) -> bytes:
    unit = UNITS[value.kind]
    return np.frombuffer(value.data, f"{order}u{unit}").astype(f"<u{unit}").tobytes()


def _nested(
    found: dict[int, dict[int, Tag]],
    place: int,
    *,
    big: bool,
    entries: Entries | None = None,
    following: int = 0,
) -> tuple[bytes, int]:
    """Directories one after the other from `place` on, and where the first one is: at the end."""
    body = b""
    first: Entries = {**found[0], **(entries or {})}
    for pointer, inner in found.items():
        if pointer and inner:
            start = place + len(body)
            body += _directory({**inner}, start, big=big)
            kind, word = (_LONG8, 8) if big else (_LONG, 4)
            first[pointer] = Tag(kind, start.to_bytes(word, "little"))
    start = place + len(body)
    return body + _directory(first, start, big=big, following=following), start


def _directory(entries: Entries, place: int, *, big: bool, following: int = 0) -> bytes:
    """A directory at a place in a file, and the values that do not fit into its entries."""
    kind, size, word = ("Q", 20, 8) if big else ("H", 12, 4)
    table = struct.pack(f"<{kind}", len(entries))
    values = b""
    after = place + len(table) + size * len(entries) + word
    for tag, value in sorted(entries.items()):
        if isinstance(value, bytes):
            table += value
            continue
        count = len(value.data) // (UNITS[value.kind] * (2 if value.kind in (5, 10) else 1))
        table += struct.pack("<HHQ" if big else "<HHI", tag, value.kind, count)
        data = value.data
        if len(data) > word:
            data, values = (after + len(values)).to_bytes(word, "little"), values + data
            values += bytes(-len(values) % 8)
        table += data.ljust(word, b"\0")
    whole = table + following.to_bytes(word, "little") + values
    return whole + bytes(-len(whole) % 8)
