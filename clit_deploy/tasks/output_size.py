"""The requested size of an output, in one of several ways, and what it is for each image."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from clit_deploy.errors import CoordinateError, OptionError
from clit_deploy.grid.cascade import check_scale
from clit_deploy.grid.geometry import Span
from clit_deploy.render.layout import Block
from clit_deploy.render.region import grown, regions_of

if TYPE_CHECKING:
    from clit_deploy.grid.cascade import Size
    from clit_deploy.render.layout import Job
    from clit_deploy.render.region import Rectangle
    from clit_deploy.render.renderer import Renderer

    Sides = tuple[Fraction, Fraction]
    """Height and width of a region, in pixels of the image."""


@dataclass(frozen=True)
class OutputSize:
    """Exactly one of these requests. A `Size` is height and width in pixels.

    Sides that are named become exactly what they say. A side that follows from another one is
    rounded to the nearest pixel.
    """

    scale: float | None = None
    """Factor of both sides."""
    factors: tuple[float, float] | None = None
    """Factors of the height and of the width."""
    size: Size | None = None
    width: int | None = None
    height: int | None = None
    longest: int | None = None
    """The longer side."""
    shortest: int | None = None
    """The shorter side."""
    fit: Size | None = None
    """The largest size of the image's aspect that is not larger than this."""
    fill: Size | None = None
    """This size, from the middle of the smallest output of the image's aspect that covers it."""
    region: Rectangle | None = None
    """The part of the image that the output shows, not a way to say its size; None for all."""

    def check(self) -> None:
        """Refuse a request that no image can satisfy.

        Raises:
            OptionError: none or several ways are given.
        """
        if len(self._given()) != 1:
            ways = [
                f"--{f.name}"
                for f in dataclasses.fields(self)
                if f.name not in ("factors", "region")
            ]
            raise OptionError(f"Give exactly one of {', '.join(ways[:-1])} and {ways[-1]}.")

    @property
    def label(self) -> str:
        """What is added to the name of an output: `x4`, `1920x1080`, `w4000`."""
        ((way, value),) = self._given().items()
        text = f"{value:g}" if way == "scale" else str(value)
        if isinstance(value, tuple):
            text = f"{value[1]:.15g}x{value[0]:.15g}"
        ways = {"scale": "x", "factors": "x", "size": "", "width": "w", "height": "h"}
        return ways.get(way, way) + text

    @property
    def place(self) -> str:
        """What else is added for a region: `_10,20,100,80`."""
        return "" if self.region is None else "_" + ",".join(f"{n:.15g}" for n in self.region)

    def contains(self, image: Size) -> bool:
        """Whether an image of this size has the requested region."""
        try:
            self._shown(image)
        except CoordinateError:
            return False
        return True

    def _resolve(self, image: Sides) -> tuple[float | None, Size | None]:
        """Scale or size (height, width) of the output of an image of these sides, before `fill`
        crops it.

        Raises:
            SizeError: a factor is below 1 or not finite.
        """
        if self.size is not None or self.scale is not None:
            return self.scale, self.size
        if self.factors is not None:
            for factor in self.factors:
                check_scale(factor)
            height, width = (grown(s, f) for s, f in zip(image, self.factors, strict=True))
            return None, (height, width)
        return None, self._of_aspect(image)

    def _of_aspect(self, image: Sides) -> Size:
        """The size of a request that keeps the aspect of an image."""
        height, width = image
        if self.width is not None:
            return _followed(self.width, by=height, of=width), self.width
        if self.height is not None:
            return self.height, _followed(self.height, by=width, of=height)
        if self.longest is not None or self.shortest is not None:
            side = self.longest if self.longest is not None else self.shortest
            if (height > width) == (self.longest is not None):
                return OutputSize(height=side)._of_aspect(image)
            return OutputSize(width=side)._of_aspect(image)
        box = self.fit or self.fill
        assert box is not None  # noqa: S101  (`check` has found one of them)
        taller = box[0] * width > box[1] * height  # the box, relative to the image
        if taller == (self.fit is not None):
            follows = _followed(box[1], by=height, of=width)
            return (min if self.fit else max)(follows, box[0]), box[1]
        follows = _followed(box[0], by=width, of=height)
        return box[0], (min if self.fit else max)(follows, box[1])

    def job(self, renderer: Renderer, image: Size) -> Job:
        """What has to be rendered for an image of this size.

        Raises:
            SizeError: these models cannot make it.
            CoordinateError: the region is empty or outside the image.
        """
        scale, size = self._resolve(self._shown(image))
        job = renderer.job_of(image, scale=scale, size=size, region=self.region)
        if self.fill is None:
            return job
        rows, cols = (
            Span((whole - part) // 2, (whole - part) // 2 + part)
            for whole, part in zip(job.output, self.fill, strict=True)
        )
        return dataclasses.replace(job, window=Block(rows, cols))

    def output(self, image: Size) -> Size:
        """Height and width of the file that is written for an image of this size.

        Raises:
            SizeError: a factor is below 1 or not finite.
            CoordinateError: the region is empty or outside the image.
        """
        sides = self._shown(image)
        if self.fill is not None:
            return self.fill
        scale, size = self._resolve(sides)
        if size is not None:
            return size
        check_scale(scale)
        return grown(sides[0], scale or 1), grown(sides[1], scale or 1)

    def stretches(self, image: Size) -> bool:
        """Whether the requested size changes the aspect of an image by more than rounding."""
        if self.size is None:
            return False
        (height, width), (h, w) = self.size, self._shown(image)
        # One scale would have to round to both sides: (height +- 1/2) / h and (width +- 1/2) / w.
        return abs(height * w - width * h) * 2 > w + h

    def _shown(self, image: Size) -> Sides:
        """Height and width of the part of an image that the output shows."""
        if self.region is None:
            return Fraction(image[0]), Fraction(image[1])
        rows, cols = regions_of(self.region, image)
        return rows.length, cols.length

    def _given(self) -> dict[str, object]:
        ways = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {way: value for way, value in ways.items() if value is not None and way != "region"}


def _followed(side: int, *, by: Fraction, of: Fraction) -> int:
    """The other side of an output: `by` grows as `of` grows to `side`."""
    return max(round(by * side / of), 1)
