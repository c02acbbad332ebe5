"""CLIT's tables: resampling matrices of the cascade, beside those of its attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.grid.geometry import Span
from clit_deploy.render.tables.attention_tables import AttentionTables
from clit_deploy.render.tables.family_tables import Projection

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import StageGrid
    from clit_deploy.grid.geometry import Axis


class ClitTables(AttentionTables):
    """Tables of a cascade of local implicit transformers."""

    def project(self, stage: int, stage_grid: StageGrid, rows: Span, cols: Span) -> Projection:
        """Stage 0 masks the widened features outside the image, later stages resample them."""
        if stage == 0:
            return Projection(
                rows.grow(2, 2),
                cols.grow(2, 2),
                {
                    "row_inside": _inside(rows.grow(1, 1), stage_grid.size[0]),
                    "col_inside": _inside(cols.grow(1, 1), stage_grid.size[1]),
                },
            )
        row_span, row_taps = _taps(stage_grid.over_image[0], rows)
        col_span, col_taps = _taps(stage_grid.over_image[1], cols)
        return Projection(
            row_span.grow(1, 1),
            col_span.grow(1, 1),
            {
                "row_taps": row_taps.reshape(len(rows), -1),
                "col_taps": col_taps.transpose(0, 2, 1).reshape(len(cols), -1),
            },
        )


def _inside(span: Span, length: int) -> NDArray[np.float32]:
    index = np.arange(span.start, span.stop)
    return ((index >= 0) & (index < length)).astype(np.float32)


def _taps(axis: Axis, fine: Span) -> tuple[Span, NDArray[np.float32]]:
    """Bilinear resampling at every tap of a 3-tap convolution on the finer grid.

    `axis` lays the stage's grid over the image. Taps outside the finer grid,
    and coarse pixels outside the image, count as zero.

    Returns: the coarse pixels that are read, and the weights `[fine, 3, coarse]`.
    """
    reach = fine.grow(1, 1).clip(axis.padded_out)
    lower, upper_weight = axis.bilinear(reach)
    span = Span(int(lower[0]), int(lower[-1]) + 2).clip(axis.padded_grid)
    # One column more on either side takes what falls outside and is cut off again.
    weights = np.zeros((len(fine) + 2, len(span) + 2))
    at = np.arange(reach.start, reach.stop) - (fine.start - 1)
    weights[at, lower - span.start + 1] += 1 - upper_weight
    weights[at, lower - span.start + 2] += upper_weight
    taps = np.stack([weights[t : t + len(fine), 1:-1] for t in range(3)], axis=1)
    return span, taps.astype(np.float32)
