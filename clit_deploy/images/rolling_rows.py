"""An image of which only the rows in use are held, so that its height costs no memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from clit_deploy.images.pixels import ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import Size

REACH = 768
"""Rows that are held: a tile of the encoder with its halos, and a band that is being read."""


class RollingRows:
    """Looks like an array `[h, w, 3]` to a renderer, which takes rows from top to bottom.

    Args:
        bands_from: rows `[n, w, channels]` from this one to the last, at most `ROWS` at a time; the
            first row that is taken decides where they begin.
        size: height and width.
        channels: 1 or 3.
        dtype: of the rows.
        reach: rows that are held above the lowest one that was taken.
    """

    def __init__(
        self,
        bands_from: Callable[[int], Iterator[NDArray[Any]]],
        size: Size,
        channels: int,
        dtype: np.dtype[Any],
        reach: int = REACH,
    ) -> None:
        self.shape = (*size, 3)
        self.dtype = dtype
        self._bands_from = bands_from
        self._bands: Iterator[NDArray[Any]] | None = None
        self._rows = np.empty((min(reach + ROWS, size[0]), size[1], channels), dtype)
        self._first = self._held = 0

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice | NDArray[np.int64]) -> NDArray[Any]:
        """Some rows, `[n, w, 3]`; valid until the next ones are taken.

        Raises:
            AssertionError: rows that are gone.
        """
        if isinstance(index, slice):
            low, high = index.start, index.stop
        else:
            low, high = int(index.min()), int(index.max()) + 1
        if self._bands is None:
            self._bands, self._first = self._bands_from(low), low
        while self._first + self._held < high:
            self._take(next(self._bands))
        if low < self._first:
            raise AssertionError(f"rows from {low} were requested, but {self._first} is the first")
        near = self._rows[low - self._first : high - self._first]
        found = near if isinstance(index, slice) else near[index - low]
        return np.broadcast_to(found, (*found.shape[:2], 3))

    def _take(self, band: NDArray[Any]) -> None:
        """Append a band; the topmost rows make room for it."""
        extra = max(self._held + len(band) - len(self._rows), 0)
        if extra:
            self._rows[: self._held - extra] = self._rows[extra : self._held]
            self._first, self._held = self._first + extra, self._held - extra
        self._rows[self._held : self._held + len(band)] = band
        self._held += len(band)
