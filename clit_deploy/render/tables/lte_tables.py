"""LTE's tables: LIIF's, with a cell of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.render.tables.liif_tables import LiifTables

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clit_deploy.grid.geometry import AxisQueries


class LteTables(LiifTables):
    """Tables of the local texture estimator."""

    def cell(self, rows: AxisQueries, cols: AxisQueries, scale: float) -> NDArray[np.float32]:
        """Beyond x4 the cell stays that of x4, the largest that LTE was trained for."""
        plain = super().cell(rows, cols, scale).astype(np.float64)
        return (plain * max(scale / 4, 1)).astype(np.float32)
