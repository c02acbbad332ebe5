"""Which stages of a cascade run for a scale, and on which grids. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

from clit_deploy.errors import SizeError
from clit_deploy.grid.geometry import Axis, Region

MAX_STAGE_FACTOR = 4.0
"""Largest factor of a stage that another one can follow (CLIT, section 3.3 and its code)."""

LARGEST_SCALE = 1_000_000

Size = tuple[int, int]
"""Height and width in pixels."""

Regions = tuple[Region, Region]
"""A rectangle of an image: its rows, then its columns."""


def factors(scale: float, stages: int) -> list[float]:
    """The factor of every stage that runs at `scale`, first stage first.

    Factors of 4 until at most 4 is left (12 -> 4, 3; 30 -> 4, 4, 1.875); a model with fewer
    stages leaves the rest to its last one.
    """
    result: list[float] = []
    while scale > MAX_STAGE_FACTOR and len(result) < stages - 1:
        result.append(MAX_STAGE_FACTOR)
        scale /= MAX_STAGE_FACTOR
    return [*result, scale]


def grids(image: Size, output: Size, scale: float, stages: int) -> list[Size]:
    """The feature grid of every stage that runs: the image's own first, then 4 and 16 times it.

    No grid is finer than the output, which matters only where the two axes differ.
    """
    count = len(factors(scale, stages))
    return [
        (
            min(round(image[0] * MAX_STAGE_FACTOR**stage), output[0]),
            min(round(image[1] * MAX_STAGE_FACTOR**stage), output[1]),
        )
        for stage in range(count)
    ]


@dataclass(frozen=True)
class StageGrid:
    """One stage's grid, between the image and the output: rows first, then columns."""

    over_image: tuple[Axis, Axis]
    """Grid pixels over image pixels."""
    over_grid: tuple[Axis, Axis]
    """Output pixels over grid pixels."""

    @property
    def size(self) -> Size:
        """Grid pixels that exist, those over an encoder's padding included."""
        return self.over_grid[0].padded_grid, self.over_grid[1].padded_grid


def stage_grids(
    image: Size,
    padded: Size,
    output: Size,
    scale: float,
    stages: int,
    regions: Regions | None = None,
) -> list[StageGrid]:
    """The grids of the stages that run.

    Args:
        image: its height and width.
        padded: the size that its encoder pads it to.
        output: of the whole image, or of a part of it.
        scale: decides how many stages of a cascade run.
        stages: how many there are.
        regions: the part of the image that the output shows; None for all of it.
    """
    found = []
    for grid in grids(image, whole_output(image, output, regions), scale, stages):
        rise = [Axis(i, g, p - i) for i, g, p in zip(image, grid, padded, strict=True)]
        axes = [
            Axis(up.out, out, up.padded_out - up.out, region and region.on(up))
            for up, out, region in zip(rise, output, regions or (None, None), strict=True)
        ]
        found.append(StageGrid((rise[0], rise[1]), (axes[0], axes[1])))
    return found


def whole_output(image: Size, output: Size, regions: Regions | None) -> Size:
    """The output that the whole image would have at the pitch of a region's output."""
    if regions is None:
        return output
    rows, cols = (
        max(side, round(side * out / region.length))  # rounding never makes a grid coarser
        for side, out, region in zip(image, output, regions, strict=True)
    )
    return rows, cols


def output_size(image: Size, scale: float | None, size: Size | None) -> tuple[Size, float]:
    """The output size and the scale that decides the cascade.

    Args:
        image: height and width of the input.
        scale: factor of both sides, at least 1; sides round like Python's `round`.
        size: requested height and width in pixels, neither smaller than the input's.

    Raises:
        SizeError: neither or both are given, or one is below 1, not finite or too small.
    """
    check_request(scale, size)
    if scale is not None:
        return (round(image[0] * scale), round(image[1] * scale)), float(scale)
    height, width = whole_size(size)
    if height < image[0] or width < image[1]:
        raise SizeError(
            f"The output size {width}x{height} is below the image's {image[1]}x{image[0]} "
            "(width x height); these models only enlarge, so request at least that size."
        )
    return (height, width), max(height / image[0], width / image[1])


def check_request(scale: float | None, size: Size | None) -> None:
    """Refuse a request that is not one valid scale or one size.

    Raises:
        SizeError: neither or both are given, or the scale is not valid.
    """
    if (scale is None) == (size is None):
        raise SizeError("Give either a scale or an output size, but not both.")
    if scale is not None:
        check_scale(scale)


def whole_size(size: Size | None) -> Size:
    """A requested height and width as integers.

    Raises:
        SizeError: it is something else.
    """
    try:
        height, width = map(int, size)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as error:
        raise SizeError(f"The size is {size!r}; it must be (height, width) in pixels.") from error
    return height, width


def check_scale(scale: float | None) -> None:
    """Refuse a factor that no model can make.

    Raises:
        SizeError: it is not a number, below 1, not finite, or too large.
    """
    if not isinstance(scale, Real) or not 1 <= scale <= LARGEST_SCALE:
        raise SizeError(
            f"The scale is {scale!r}; it must be a number of at least 1 (and at most "
            f"{LARGEST_SCALE:,})."
        )
