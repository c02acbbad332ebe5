"""Bilinear resampling with a repeated border: on a block of a regular grid, or at single points.

Images have any type of `images.pixels`; results are float32, 0 to 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.images.pixels import to_unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clit_deploy.grid.geometry import Axis, Span
    from clit_deploy.render.layout import Block


def bilinear(
    image: NDArray[np.generic], axes: tuple[Axis, Axis], block: Block
) -> NDArray[np.float32]:
    """`image [h, w, c]` resampled to one block of the outputs of `axes`."""
    row, row_weight = _taps(axes[0], block.rows)
    col, col_weight = _taps(axes[1], block.cols)
    top, first = row[0, 0], col[0, 0]
    near = image[top : row[1, -1] + 1][:, first : col[1, -1] + 1]
    above, below = to_unit(near[row[0] - top]), to_unit(near[row[1] - top])
    rows = above + (below - above) * row_weight[:, None, None]
    left = rows[:, col[0] - first]
    result: NDArray[np.float32] = left + (rows[:, col[1] - first] - left) * col_weight[:, None]
    return result


def _taps(axis: Axis, outputs: Span) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The two pixels that each output lies between, `[2, n]`, and the weight of the second."""
    lower, weight = axis.bilinear(outputs)
    both = np.clip(np.stack([lower, lower + 1]), 0, axis.grid - 1)
    return both, weight.astype(np.float32)


def bilinear_at(image: NDArray[np.generic], at: NDArray[np.float64]) -> NDArray[np.float32]:
    """Bilinear samples of `image [h, w, c]` at `at [q, 2]` (pixels from its corner), `[q, c]`.

    Beyond the centers of the outermost pixels their color is repeated.
    """
    low = np.floor(at - 0.5)
    row_weight, col_weight = ((at - 0.5) - low).T.astype(np.float32)[..., None]
    ends = np.array(image.shape[:2]) - 1
    top, left = np.clip(low.astype(np.int64), 0, ends).T
    bottom, right = np.clip(low.astype(np.int64) + 1, 0, ends).T
    above = _between(image[top, left], image[top, right], col_weight)
    below = _between(image[bottom, left], image[bottom, right], col_weight)
    return _between(above, below, row_weight)


def _between(
    one: NDArray[np.generic], other: NDArray[np.generic], weight: NDArray[np.float32]
) -> NDArray[np.float32]:
    start = to_unit(one)
    result: NDArray[np.float32] = start + (to_unit(other) - start) * weight
    return result
