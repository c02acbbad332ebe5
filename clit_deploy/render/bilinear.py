"""Bilinear resampling with a repeated border: on a block of a regular grid, and at any places."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.grid.geometry import Axis

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import Size
    from clit_deploy.grid.geometry import Span
    from clit_deploy.render.layout import Block


def bilinear(image: NDArray[np.float32], output: Size, block: Block) -> NDArray[np.float32]:
    """Bilinear resampling of `image [h, w, c]` with repeated border, at a block of the output."""
    low, frac = _taps(Axis(image.shape[0], output[0]), block.rows)
    rows = image[low[0]] + (image[low[1]] - image[low[0]]) * frac[:, None, None]
    low, frac = _taps(Axis(image.shape[1], output[1]), block.cols)
    left = rows[:, low[0]]
    result: NDArray[np.float32] = left + (rows[:, low[1]] - left) * frac[None, :, None]
    return result


def _taps(axis: Axis, outputs: Span) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    lower, weight = axis.bilinear(outputs)
    both = np.clip(np.stack([lower, lower + 1]), 0, axis.grid - 1)
    return both, weight.astype(np.float32)


def bilinear_at(image: NDArray[np.float32], at: NDArray[np.float64]) -> NDArray[np.float32]:
    """Bilinear samples of `image [h, w, c]` at `at [q, 2]` (pixels from its corner), `[q, c]`.

    Beyond the centres of the outermost pixels their colour is repeated.
    """
    low = np.floor(at - 0.5)
    row_weight, col_weight = ((at - 0.5) - low).T.astype(np.float32)[..., None]
    ends = np.array(image.shape[:2]) - 1
    top, left = np.clip(low.astype(np.int64), 0, ends).T
    bottom, right = np.clip(low.astype(np.int64) + 1, 0, ends).T
    above = image[top, left] + (image[top, right] - image[top, left]) * col_weight
    below = image[bottom, left] + (image[bottom, right] - image[bottom, left]) * col_weight
    result: NDArray[np.float32] = above + (below - above) * row_weight
    return result
