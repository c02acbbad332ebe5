"""What a family gives to the scheduler: tables, and nothing but tables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clit_deploy.cascade import Size
    from clit_deploy.geometry import Slots, Span

Feeds = dict[str, "NDArray[np.float32]"]
Side = Literal["row", "col"]


@dataclass(frozen=True)
class Projection:
    """What *project* needs to make maps: a patch of features and tables.

    `rows` and `cols` may reach outside the image, where features count as zero.
    """

    rows: Span
    cols: Span
    feeds: Feeds


class Tables(ABC):
    """The tables of a family. All arrays are float32, computed in float64."""

    @abstractmethod
    def project(self, stage: int, image: Size, grid: Size, rows: Span, cols: Span) -> Projection:
        """Tables for the maps of a stage at `rows` and `cols` of its `grid` (inside it)."""

    @abstractmethod
    def axis(self, stage: int, side: Side, slots: Slots) -> Feeds:
        """Tables of one axis, by the graph's input name; the first dimension runs over cells."""

    def cell(self, grid: Size, output: Size, scale: float) -> NDArray[np.float32]:  # noqa: ARG002
        """The size of an output pixel in half grid pixels, `[1, 2]`: the papers' relative cell."""
        return np.array([[2 * g / o for g, o in zip(grid, output, strict=True)]], np.float32)
