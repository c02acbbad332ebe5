"""CLIT's tables: resampling matrices, bilinear weights, and the separable position bias."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from clit_deploy.geometry import Axis, Slots, Span
from clit_deploy.tables.base import Feeds, Projection, Side, Tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from clit_deploy.cascade import Size


class ClitTables(Tables):
    """Tables of a cascade of local implicit transformers.

    Args:
        args: the published hyperparameters.
        arrays: `frequencies [f]`, `bias_row` and `bias_col [heads, 2f]` (sines, then cosines)
            and `bias [heads]` of the position encoding.
    """

    def __init__(self, args: Mapping[str, Any], arrays: Mapping[str, NDArray[np.float64]]) -> None:
        self.r = int(args["r"])
        self.arrays = {name: array.astype(np.float64) for name, array in arrays.items()}

    def project(self, stage: int, image: Size, grid: Size, rows: Span, cols: Span) -> Projection:
        """Stage 0 masks the widened features outside the image, later stages resample them."""
        if stage == 0:
            return Projection(
                rows.grow(2, 2),
                cols.grow(2, 2),
                {
                    "row_inside": _inside(rows.grow(1, 1), image[0]),
                    "col_inside": _inside(cols.grow(1, 1), image[1]),
                },
            )
        row_span, row_taps = _taps(Axis(image[0], grid[0]), rows)
        col_span, col_taps = _taps(Axis(image[1], grid[1]), cols)
        return Projection(
            row_span.grow(1, 1),
            col_span.grow(1, 1),
            {
                "row_taps": row_taps.reshape(len(rows), -1),
                "col_taps": col_taps.transpose(0, 2, 1).reshape(len(cols), -1),
            },
        )

    def axis(self, stage: int, side: Side, slots: Slots) -> Feeds:  # noqa: ARG002
        """Bilinear weights `[cells, n, 3]` and position bias `[cells, n, heads, 2r + 1]`."""
        offset = slots.axis.offset(slots.index, slots.pixels())
        half = offset / 2
        weights = np.stack([np.maximum(-half, 0), 1 - np.abs(half), np.maximum(half, 0)], axis=-1)
        return {
            f"{side}_weights": weights.astype(np.float32),
            f"{side}_bias": self._bias(side, offset).astype(np.float32),
        }

    def _bias(self, side: Side, offset: NDArray[np.float64]) -> NDArray[np.float64]:
        steps = 2.0 * np.arange(-self.r, self.r + 1)
        angle = (offset[..., None] - steps)[..., None] * self.arrays["frequencies"]
        waves = np.concatenate([np.sin(angle), np.cos(angle)], axis=-1)
        bias: NDArray[np.float64] = np.moveaxis(waves @ self.arrays[f"bias_{side}"].T, -1, -2)
        if side == "row":
            bias += self.arrays["bias"][:, None]
        return bias


def _inside(span: Span, length: int) -> NDArray[np.float32]:
    index = np.arange(span.start, span.stop)
    return ((index >= 0) & (index < length)).astype(np.float32)


def _taps(axis: Axis, fine: Span) -> tuple[Span, NDArray[np.float32]]:
    """Bilinear resampling at every tap of a 3-tap convolution on the finer grid.

    Here `axis.grid` is the image's side and `axis.out` the stage's. Taps outside the finer grid,
    and coarse pixels outside the image, count as zero.

    Returns: the coarse pixels that are read, and the weights `[fine, 3, coarse]`.
    """
    reach = fine.grow(1, 1).clip(axis.out)
    lower, upper_weight = axis.bilinear(reach)
    span = Span(int(lower[0]), int(lower[-1]) + 2).clip(axis.grid)
    # One column more on either side takes what falls outside and is cut off again.
    weights = np.zeros((len(fine) + 2, len(span) + 2))
    at = np.arange(reach.start, reach.stop) - (fine.start - 1)
    weights[at, lower - span.start + 1] += 1 - upper_weight
    weights[at, lower - span.start + 2] += upper_weight
    taps = np.stack([weights[t : t + len(fine), 1:-1] for t in range(3)], axis=1)
    return span, taps.astype(np.float32)
