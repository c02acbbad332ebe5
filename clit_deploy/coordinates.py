"""Coordinates that a caller gives: checked, and turned into places on the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from clit_deploy.errors import CoordinateError
from clit_deploy.query import Queries

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clit_deploy.cascade import Size

FINEST = 4.0
"""Pixels are answered at a quarter of an image pixel unless asked otherwise: the largest scale
that the published models were trained for."""


def queries_of(coords: Any, cell: Any, image: Size) -> Queries:
    """Coordinates in -1..1, and the pixels that they stand for, as places on an image.

    Args:
        coords: `[q, 2]`, row and column; -1 and 1 are the image's edges.
        cell: height and width of a pixel in the same units, `[2]` or `[q, 2]`; by default the
            spacing where `coords` are a regular grid, otherwise a quarter of an image pixel.
        image: its height and width.

    Raises:
        CoordinateError: another shape, values that are no numbers, or outside of their range.
    """
    places = _numbers(coords, "coords")
    if places.ndim != 2 or places.shape[1] != 2 or not len(places):
        raise CoordinateError(f"The coords are {list(places.shape)}; they must be [q, 2].")
    wrong = np.flatnonzero((np.abs(places) > 1).any(axis=1))
    if len(wrong):
        row, col = places[wrong[0]]
        raise CoordinateError(
            f"{len(wrong)} of {len(places)} coords lie outside the image, the first at row "
            f"{row:g}, column {col:g}; both must be in -1..1."
        )
    sides = np.array(image, np.float64)
    if cell is None:
        size = spacing(places)
        size = 2 / sides / FINEST if size is None else size
    else:
        size = _numbers(cell, "cell")
        if size.shape not in ((2,), places.shape) or not (size > 0).all():
            raise CoordinateError(
                f"The cell is {list(size.shape)}, from {size.min(initial=np.inf):g}; it must be "
                f"positive, [2] or {list(places.shape)}: height and width of a pixel in -1..1."
            )
    return Queries((places + 1) / 2 * sides, size.reshape(-1, 2) / 2 * sides)


def pixel_query(at: tuple[int, int], image: Size, output: Size) -> Queries:
    """The query that one output pixel `at` (row, column) is.

    Raises:
        CoordinateError: there is no such pixel.
    """
    inside = len(at) == 2 and all(0 <= a < side for a, side in zip(at, output, strict=True))
    if not inside:
        raise CoordinateError(
            f"There is no output pixel at row and column {tuple(at)}; the output has "
            f"{output[0]} rows and {output[1]} columns."
        )
    sides, outputs = np.array(image, np.float64), np.array(output, np.float64)
    centre = (2 * np.array(at) + 1) * sides / (2 * outputs)
    return Queries(centre[None], (sides / outputs)[None])


def output_of(queries: Queries, image: Size) -> tuple[Size, float]:
    """The size and the scale of an output with pixels like those asked for (the median one)."""
    cell = np.median(queries.cell, axis=0)
    ratio = np.maximum(1 / cell, 1)
    return (round(image[0] * ratio[0]), round(image[1] * ratio[1])), float(ratio.max())


def spacing(coords: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Distance of rows and of columns where `coords [q, 2]` fill a regular grid, else None."""
    steps, count = [], 1
    for axis in range(2):
        values = np.unique(coords[:, axis])
        gaps = np.diff(values)
        if not len(gaps) or np.ptp(gaps) > 1e-6 * gaps.max():
            return None
        steps.append((values[-1] - values[0]) / len(gaps))
        count *= len(values)
    return np.array(steps) if count == len(coords) else None


def _numbers(values: Any, what: str) -> NDArray[np.float64]:
    try:
        numbers = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise CoordinateError(f"The {what} are no array of numbers ({error}).") from error
    if not np.isfinite(numbers).all():
        raise CoordinateError(f"The {what} hold NaN or infinite values.")
    return numbers
