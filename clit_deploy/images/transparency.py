"""Colors under transparent pixels: they are arbitrary, so they must never reach a visible pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.grid.geometry import Span
from clit_deploy.images.pixels import ROWS, to_depth, to_unit, white_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILLING_BYTES = 8
"""Bytes a pixel that filling holds: the levels of the pyramid."""


def is_opaque(alpha: NDArray[np.generic]) -> bool:
    """Whether nothing is transparent."""
    return bool((alpha == white_of(alpha.dtype)).all())


def fill_hidden(colors: NDArray[np.generic], alpha: NDArray[np.generic]) -> None:
    """Give fully transparent pixels the color of the visible ones around them, in place.

    The image is averaged in steps of two, weighted by alpha, until it is one pixel; hidden pixels
    take the color of the finest average that knows one (the pull-push method of Gortler and
    others, "The Lumigraph", 1996).

    Args:
        colors: `[h, w, c]` of any type of `pixels`.
        alpha: `[h, w, 1]` of the same type.
    """
    if (alpha != 0).all():
        return
    levels = [_halved(colors, alpha)]
    while max(levels[-1].shape[:2]) > 1:
        levels.append(_halved_level(levels[-1]))
    for fine, coarse in zip(levels[-2::-1], levels[:0:-1], strict=True):
        _push(fine, coarse)
    for rows in Span(0, len(colors)).split(ROWS):
        y, x = np.nonzero(alpha[rows.start : rows.stop, :, 0] == 0)
        y += rows.start
        colors[y, x] = to_depth(levels[0][y // 2, x // 2, :-1], colors.dtype)


def _halved(colors: NDArray[np.generic], alpha: NDArray[np.generic]) -> NDArray[np.float32]:
    """Averages of 2x2 pixels, and in the last channel how much of them is visible, 0 to 1."""
    height, width, channels = colors.shape
    result = np.empty((-(-height // 2), -(-width // 2), channels + 1), np.float32)
    for rows in Span(0, len(result)).split(ROWS):
        at = slice(2 * rows.start, 2 * rows.stop)
        weight = to_unit(alpha[at])
        both = np.concatenate([to_unit(colors[at]) * weight, weight], axis=2)
        result[rows.start : rows.stop] = _averaged(both)
    return result


def _halved_level(level: NDArray[np.float32]) -> NDArray[np.float32]:
    weight = level[..., -1:]
    return _averaged(np.concatenate([level[..., :-1] * weight, weight], axis=2))


def _averaged(both: NDArray[np.float32]) -> NDArray[np.float32]:
    """2x2 pixels as one, from weighted colors and weights; at odd edges there are fewer."""
    for axis in (0, 1):
        starts = np.arange(0, both.shape[axis], 2)
        both = np.add.reduceat(both, starts, axis=axis)
    weight = both[..., -1:]
    colors = np.divide(both[..., :-1], weight, out=np.zeros_like(both[..., :-1]), where=weight > 0)
    return np.concatenate([colors, np.minimum(weight, 1)], axis=2)


def _push(fine: NDArray[np.float32], coarse: NDArray[np.float32]) -> None:
    """Give pixels of which nothing is visible the color of the level above, in place."""
    y, x = np.nonzero(fine[..., -1] == 0)
    fine[y, x, :-1] = coarse[y // 2, x // 2, :-1]


def over(
    colors: NDArray[np.float32], alpha: NDArray[np.float32], background: tuple[int, int, int]
) -> NDArray[np.float32]:
    """Colors over a background.

    Args:
        colors: `[h, w, 3]`, 0 to 1, or `[h, w, 1]` over gray.
        alpha: `[h, w, 1]`, 0 to 1.
        background: 8-bit RGB.
    """
    under = np.array(background[: colors.shape[2]], np.float32) / np.float32(255)
    result: NDArray[np.float32] = under + (colors - under) * alpha
    return result


def within_input(
    made: NDArray[np.float32],
    alpha: NDArray[np.generic],
    y: NDArray[np.int64],
    x: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Alpha that a network made, kept between the least and the most of the 3x3 pixels around it.

    So what is wholly opaque or wholly transparent stays exactly that.

    Args:
        made: `[rows, cols, 1]`.
        alpha: the input's, `[h, w, 1]`.
        y, x: the pixels of the input that the rows and columns lie in, `[rows]` and `[cols]`.
    """
    y, x = _around(y, alpha.shape[0]), _around(x, alpha.shape[1])
    first = y.min()
    near = to_unit(alpha[first : y.max() + 1, :, 0])
    low = near[y - first].min(axis=0)[:, x].min(axis=1)
    high = near[y - first].max(axis=0)[:, x].max(axis=1)
    result: NDArray[np.float32] = np.clip(made, low[..., None], high[..., None])
    return result


def _around(pixels: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Each pixel with the one before and the one after it, `[3, n]`."""
    around: NDArray[np.int64] = np.clip(pixels + np.array([[-1], [0], [1]]), 0, length - 1)
    return around
