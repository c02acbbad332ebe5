"""A PNG written row by row, with every chunk that the input had."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from clit_deploy.images.png_chunks import COLOR, XMP, physical

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from clit_deploy.images.metadata import Metadata
    from clit_deploy.images.png_chunks import Chunk

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
_UP = 2


class PngWriter:
    """Writes rows to a file as they come (PNG, third edition, sections 5 and 9).

    Every row is filtered against the one above it. For upscaled images that is nearly as small as
    trying all filters, and costs one subtraction.

    Args:
        file: where to write.
        width, height: in pixels.
        channels: 1 (gray), 2 (gray and alpha), 3 (RGB) or 4 (RGB and alpha).
        dtype: uint8 or uint16.
        chunks: kinds and contents of chunks that come before the pixels.
    """

    def __init__(
        self,
        file: BinaryIO,
        width: int,
        height: int,
        channels: int,
        dtype: type[np.unsignedinteger[Any]] = np.uint8,
        chunks: Iterable[Chunk] = (),
    ) -> None:
        self._file = file
        self._rows_left = height
        self._type = np.dtype(dtype).newbyteorder(">")
        row = width * channels * self._type.itemsize
        self._above = np.zeros((1, row), np.uint8)
        self._deflate = zlib.compressobj(level=4)
        bits = 8 * self._type.itemsize
        file.write(_SIGNATURE)
        self._chunk(
            b"IHDR", struct.pack(">IIBBBBB", width, height, bits, _COLOR_TYPES[channels], 0, 0, 0)
        )
        for kind, data in chunks:
            self._chunk(kind, data)

    def __enter__(self) -> PngWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()

    def write(self, rows: NDArray[Any]) -> None:
        """Append rows `[n, width, channels]` of the file's type."""
        flat = rows.astype(self._type, copy=False).reshape(len(rows), -1).view(np.uint8)
        filtered = np.empty((len(flat), flat.shape[1] + 1), np.uint8)
        filtered[:, 0] = _UP
        filtered[:, 1:] = flat - np.concatenate([self._above, flat[:-1]])
        self._above = flat[-1:].copy()
        self._rows_left -= len(flat)
        data = self._deflate.compress(filtered.tobytes())
        if data:
            self._chunk(b"IDAT", data)

    def close(self) -> None:
        """Finish the file.

        Raises:
            ValueError: not all rows were written.
        """
        if self._rows_left:
            raise ValueError(f"{self._rows_left} rows of the PNG are missing")
        self._chunk(b"IDAT", self._deflate.flush())
        self._chunk(b"IEND", b"")

    def _chunk(self, kind: bytes, data: bytes) -> None:
        self._file.write(struct.pack(">I", len(data)) + kind + data)
        self._file.write(struct.pack(">I", zlib.crc32(kind + data)))


def chunks_of(metadata: Metadata) -> list[Chunk]:
    """The chunks that hold metadata, in the order that the standard requires: color first."""
    found = [chunk for chunk in metadata.chunks if chunk[0] in COLOR]
    if metadata.profile is not None and not any(kind == b"sRGB" for kind, _ in found):
        found.append((b"iCCP", b"ICC\0\0" + zlib.compress(metadata.profile)))
    if metadata.dpi is not None:
        found.append(physical(metadata.dpi))
    if metadata.exif is not None:
        found.append((b"eXIf", metadata.exif))
    if metadata.xmp is not None:
        found.append((b"iTXt", XMP + b"\0\0\0\0" + metadata.xmp))
    return found + [chunk for chunk in metadata.chunks if chunk[0] not in COLOR]
