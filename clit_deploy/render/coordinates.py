"""Coordinates that a caller gives: checked, and converted to positions on the image."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from clit_deploy.errors import CoordinateError
from clit_deploy.grid.cascade import LARGEST_SCALE, output_size
from clit_deploy.render.points import Queries

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import Size

FLOAT32_NOISE = 5e-7
"""How far the steps of a regular grid differ if it was computed in float32."""

FINEST = 4.0
"""By default a queried pixel is a quarter of an image pixel: the largest scale that the published
models were trained for."""


def queries_of(coords: Any, cell: Any, image: Size) -> Queries:
    """Coordinates in -1..1, and the pixels that they stand for, as positions on an image.

    Args:
        coords: `[q, 2]`, row and column; -1 and 1 are the image's edges.
        cell: height and width of a pixel in the same units, `[2]` or `[q, 2]`; by default the
            spacing if `coords` are a regular grid, otherwise a quarter of an image pixel.
        image: its height and width.

    Raises:
        CoordinateError: another shape, values that are not numbers, or outside their range.
    """
    points = _numbers(coords, "coords")
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise CoordinateError(f"The coords are {list(points.shape)}; they must be [q, 2].")
    wrong = np.flatnonzero((np.abs(points) > 1).any(axis=1))
    if len(wrong):
        row, col = points[wrong[0]]
        raise CoordinateError(
            f"{len(wrong)} of {len(points)} coords lie outside the image, the first at row "
            f"{row:g}, column {col:g}; both must be in -1..1."
        )
    sides = np.array(image, np.float64)
    if cell is None:
        found = spacing(points)
        size = 2 / sides / FINEST if found is None else np.minimum(found, 2 / sides)
    else:
        size = _numbers(cell, "cell")
        least = 2 / sides / LARGEST_SCALE
        fits = size.shape in ((2,), points.shape) and ((size >= least) & (size <= 2)).all()
        if not fits:
            raise CoordinateError(
                f"The cell is {list(size.shape)}, from {size.min(initial=np.inf):g} to "
                f"{size.max(initial=0):g}; height and width of a pixel must be [2] or "
                f"{list(points.shape)}, at most 2 (the whole image) and at least {least.max():.1g}."
            )
    return Queries((points + 1) / 2 * sides, size.reshape(-1, 2) / 2 * sides)


def pixel_query(at: tuple[int, int], image: Size, output: Size) -> Queries:
    """The query of one output pixel `at` (row, column).

    Raises:
        CoordinateError: the output has no such pixel.
    """
    try:
        row, col = (operator.index(a) for a in at)
    except (TypeError, ValueError) as error:
        raise CoordinateError(f"at is {at!r}; it must be a row and a column.") from error
    if not (0 <= row < output[0] and 0 <= col < output[1]):
        raise CoordinateError(
            f"There is no output pixel at row {row} and column {col}; the output has "
            f"{output[0]} rows and {output[1]} columns."
        )
    sides, outputs = np.array(image, np.float64), np.array(output, np.float64)
    centre = (2 * np.array((row, col)) + 1) * sides / (2 * outputs)
    return Queries(centre[None], (sides / outputs)[None])


def output_of(queries: Queries, image: Size, scale: float | None = None) -> tuple[Size, float]:
    """The size and the scale of an output whose pixels are like the queried ones (their median).

    Args:
        queries: they include the size of their pixels.
        image: its height and width.
        scale: runs the stages of this scale instead of the pixels' own.

    Raises:
        SizeError: an invalid scale.
        CoordinateError: pixels that are too small.
    """
    ratio = 1 / np.maximum(np.median(queries.cell, axis=0), 1e-300)
    if ratio.max() > LARGEST_SCALE:
        raise CoordinateError(
            f"The queried pixels are {ratio.max():.2g} times as fine as the image's; at most "
            f"{LARGEST_SCALE:,} times is allowed."
        )
    rows, cols = (max(round(side * r), side) for side, r in zip(image, ratio, strict=True))
    if scale is None:  # from whole pixels, so that x4 is 4 and not the float above it
        return (rows, cols), max(rows / image[0], cols / image[1])
    requested, checked = output_size(image, scale, None)
    return (max(rows, requested[0]), max(cols, requested[1])), checked


def spacing(coords: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Distance of rows and of columns if `coords [q, 2]` fill a regular grid, else None."""
    steps, count = [], 1
    for axis in range(2):
        values = np.unique(coords[:, axis])
        gaps = np.diff(values)
        if not len(gaps) or np.ptp(gaps) > max(1e-6 * gaps.max(), FLOAT32_NOISE):
            return None
        steps.append((values[-1] - values[0]) / len(gaps))
        count *= len(values)
    return np.array(steps) if count == len(coords) else None


def _numbers(values: Any, what: str) -> NDArray[np.float64]:
    try:
        numbers = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise CoordinateError(
            f"The {what} are not an array of numbers ({error!s:.200})."
        ) from error
    if not np.isfinite(numbers).all():
        raise CoordinateError(f"The {what} hold NaN or infinite values.")
    return numbers
