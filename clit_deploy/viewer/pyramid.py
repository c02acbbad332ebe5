"""The levels of an image, and the tiles of a level.

Up to the image's own pixels each level has half the sides of the next one. The levels above are
enlarged by whole factors, so a tile of them is an exact rectangle of the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from clit_deploy.errors import CoordinateError
from clit_deploy.grid.geometry import Span

if TYPE_CHECKING:
    from clit_deploy.grid.cascade import Size

TILE = 256
"""Side of a tile in pixels of its level."""
OVERLAP = 1
"""Pixels that a tile shares with each neighbor, so that no seam shows between them."""
ENLARGED = (2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Factors of the levels above the image's own pixels. The last one is the largest zoom."""


@dataclass(frozen=True)
class Tile:
    """A rectangle of a level."""

    scale: Fraction
    """Of the level: 1 for the image's own pixels."""
    level: Size
    """Height and width of the whole level."""
    rows: Span
    cols: Span

    @property
    def size(self) -> Size:
        """Height and width in pixels."""
        return len(self.rows), len(self.cols)

    @property
    def region(self) -> tuple[float, float, float, float]:
        """Left, top, width and height in pixels of the image."""
        left, top = self.cols.start / self.scale, self.rows.start / self.scale
        width, height = len(self.cols) / self.scale, len(self.rows) / self.scale
        return float(left), float(top), float(width), float(height)


class Pyramid:
    """The levels of an image of this height and width, from the smallest to the largest."""

    def __init__(self, image: Size) -> None:
        self.image = image
        reductions = 0
        while max(image) > TILE << reductions:
            reductions += 1
        self.own = reductions
        """The number of the level that has the image's own pixels."""
        smaller = [Fraction(1, 1 << k) for k in range(reductions, -1, -1)]
        self.scales = (*smaller, *map(Fraction, ENLARGED))

    def size(self, level: int) -> Size:
        """Height and width of a level; what is not a whole pixel counts as one."""
        height, width = (-int(-side * self.scales[level] // 1) for side in self.image)
        return height, width

    def tile(self, level: int, col: int, row: int) -> Tile:
        """A tile of a level.

        Raises:
            CoordinateError: there is no such level or tile.
        """
        if not 0 <= level < len(self.scales):
            raise CoordinateError(
                f"There is no level {level}; this image has levels 0 to {len(self.scales) - 1}, "
                f"and the last one enlarges it {ENLARGED[-1]} times."
            )
        size = self.size(level)
        across, down = -(-size[1] // TILE), -(-size[0] // TILE)
        if not (0 <= col < across and 0 <= row < down):
            raise CoordinateError(
                f"There is no tile in column {col}, row {row}; level {level} has {across} columns "
                f"and {down} rows of them."
            )
        rows, cols = (
            Span(k * TILE, (k + 1) * TILE).grow(OVERLAP, OVERLAP).clip(side)
            for k, side in zip((row, col), size, strict=True)
        )
        return Tile(self.scales[level], size, rows, cols)
