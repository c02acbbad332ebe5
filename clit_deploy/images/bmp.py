"""A BMP of 24 bits written row by row. Its rows go from bottom to top, so each has its place."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import Size

_HEAD = 14 + 40


class BmpWriter:
    """Writes 8-bit RGB rows to a file as they come (BITMAPFILEHEADER and BITMAPINFOHEADER)."""

    def __init__(self, file: BinaryIO, size: Size) -> None:
        self._file = file
        self._rows_left, self._width = size
        self._row = -(-3 * size[1] // 4) * 4
        length = size[0] * self._row
        file.write(struct.pack("<2sIHHI", b"BM", _HEAD + length, 0, 0, _HEAD))
        file.write(struct.pack("<IiiHHIIiiII", 40, size[1], size[0], 1, 24, 0, length, 0, 0, 0, 0))

    def write(self, rows: NDArray[np.uint8]) -> None:
        """Append rows `[n, width, 3]`."""
        padded = np.zeros((len(rows), self._row), np.uint8)
        padded[:, : 3 * self._width] = rows[..., ::-1].reshape(len(rows), -1)
        self._rows_left -= len(rows)
        self._file.seek(_HEAD + self._rows_left * self._row)
        self._file.write(padded[::-1].tobytes())

    def close(self) -> None:
        """Finish the file.

        Raises:
            ValueError: not all rows were written.
        """
        if self._rows_left:
            raise ValueError(f"{self._rows_left} rows of the BMP are missing")
