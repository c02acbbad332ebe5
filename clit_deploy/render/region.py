"""A requested region of an image: checked, made exact, and the output that it makes."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

from clit_deploy.errors import CoordinateError, SizeError
from clit_deploy.grid.cascade import check_request, whole_size
from clit_deploy.grid.geometry import Region
from clit_deploy.render.layout import Job

if TYPE_CHECKING:
    from clit_deploy.grid.cascade import Regions, Size

Rectangle = tuple[float, float, float, float]
"""Left, top, width and height in pixels of an image, whole or not."""

FINEST = 10**6
"""A position is a fraction of at most this denominator, so that 37 / 2.7, which no float holds,
lies exactly on the border of a pixel."""


def region_job(
    image: Size,
    region: Rectangle,
    *,
    scale: float | None = None,
    size: Size | None = None,
) -> Job:
    """The job that shows a region of an image.

    Args:
        image: its height and width.
        region: left, top, width and height in pixels of the image, whole or not.
        scale: factor of both sides, at least 1; the output's sides round like Python's `round`; or
        size: height and width of the output in pixels, neither smaller than the region's.

    Raises:
        CoordinateError: the region is empty, reaches outside the image, or is not four numbers.
        SizeError: neither or both of scale and size, or one that is too small.
    """
    regions = regions_of(region, image)
    sides = [part.length for part in regions]
    check_request(scale, size)
    if scale is not None:
        height, width = (grown(side, scale) for side in sides)
        return Job(image, (height, width), float(scale), regions=regions)
    height, width = whole_size(size)
    if height < math.floor(sides[0]) or width < math.floor(sides[1]) or min(height, width) < 1:
        raise SizeError(
            f"The output size {width}x{height} is below the region's {float(sides[1]):g}x"
            f"{float(sides[0]):g} (width x height); these models only enlarge, so request at "
            "least that size."
        )
    wanted = max(float(height / sides[0]), float(width / sides[1]), 1.0)
    return Job(image, (height, width), wanted, regions=regions)


def grown(side: Fraction, scale: float) -> int:
    """Pixels of an output that shows so many pixels of an image."""
    return max(round(float(side * Fraction(scale))), 1)


def regions_of(region: Rectangle, image: Size) -> Regions:
    """Left, top, width and height as exact parts of the rows and columns of an image.

    Raises:
        CoordinateError: see `region_job`.
    """
    try:
        left, top, width, height = (Fraction(number).limit_denominator(FINEST) for number in region)
    except (TypeError, ValueError, OverflowError) as error:
        raise CoordinateError(
            f"The region is {region!r:.80}; it must be four numbers: left, top, width and height."
        ) from error
    rows, cols = Region(top, height), Region(left, width)
    if not all(
        part.length > 0 and part.start >= 0 and part.start + part.length <= side
        for part, side in zip((rows, cols), image, strict=True)
    ):
        raise CoordinateError(
            f"The region {', '.join(f'{float(n):g}' for n in (left, top, width, height))} (left, "
            f"top, width, height) is empty or outside the image, which is {image[1]} pixels wide "
            f"and {image[0]} high."
        )
    return rows, cols
