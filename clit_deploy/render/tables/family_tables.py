"""What a family gives to the scheduler: only tables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import StageGrid
    from clit_deploy.grid.geometry import AxisQueries, Span

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
    def project(self, stage: int, stage_grid: StageGrid, rows: Span, cols: Span) -> Projection:
        """Tables for the maps of a stage at `rows` and `cols` of its grid (inside it)."""

    @abstractmethod
    def axis(self, side: Side, places: AxisQueries) -> Feeds:
        """Tables of one axis, by graph input; their first dimensions are those of `places`."""

    def cell(self, rows: AxisQueries, cols: AxisQueries, scale: float) -> NDArray[np.float32]:  # noqa: ARG002
        """The size of a queried pixel in half grid pixels: the papers' relative cell.

        Returns: `[1, 2]`, or `[q, 2]` if it differs between queries.
        """
        steps = np.broadcast_arrays(rows.step, cols.step)
        return np.stack(steps, axis=-1).reshape(-1, 2).astype(np.float32)
