"""A sheet to draw on in fine pixels, so that its edges are smooth when it is reduced."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

if TYPE_CHECKING:
    from collections.abc import Iterable

Color: TypeAlias = tuple[int, int, int]
Point: TypeAlias = tuple[float, float]


class Sheet:
    """An image of `width` x `height` pixels, each of `fine` x `fine` fine ones.

    Coordinates `(x, y)` and lengths are in its pixels; (0, 0) is the upper left corner.
    """

    def __init__(self, width: int, height: int, fine: int, paper: Color = (0, 0, 0)) -> None:
        self.width, self.height, self.fine = width, height, fine
        self.image = Image.new("RGB", (width * fine, height * fine), paper)

    def fill(self, color: Color) -> None:
        """Cover everything with a color."""
        self.image.paste(color, (0, 0, *self.image.size))

    def line(self, points: Iterable[Point], ink: Color, width: float) -> None:
        """A line through points."""
        self._draw.line(self._at(points), ink, self._length(width), joint="curve")

    def polygon(
        self, points: Iterable[Point], fill: Color, ink: Color | None = None, width: float = 1
    ) -> None:
        """A filled polygon, with an outline if there is ink."""
        self._draw.polygon(self._at(points), fill, ink, self._length(width))

    def ellipse(
        self,
        corners: tuple[Point, Point],
        fill: Color | None,
        ink: Color | None = None,
        width: float = 1,
    ) -> None:
        """An ellipse between its upper left and lower right corner."""
        self._draw.ellipse(self._at(corners), fill, ink, self._length(width))

    def text(self, at: Point, words: str, size: float, ink: Color) -> None:
        """A line of text in the font of Pillow, which is in the public domain (CC0)."""
        font = ImageFont.load_default(size * self.fine)
        self._draw.text(self._at([at])[0], words, ink, font)

    def add_glow(self, lights: Iterable[Point], color: Color, radius: float) -> None:
        """Add light that falls off around points."""
        glow = Image.new("RGB", (2 * self.width, 2 * self.height))
        draw = ImageDraw.Draw(glow)
        for x, y in lights:
            around = [2 * (v + r) for r in (-radius / 2, radius / 2) for v in (x, y)]
            draw.ellipse(around, color)
        glow = glow.filter(ImageFilter.GaussianBlur(2 * radius))
        self.image = ImageChops.add(self.image, glow.resize(self.image.size))

    def reduced(self, width: int, height: int, unit: float, how: Image.Resampling) -> Image.Image:
        """The upper left part as an image of this size, in which a pixel of the sheet is `unit`
        pixels wide."""
        fine = self.fine / unit
        return self.image.resize((width, height), how, (0, 0, width * fine, height * fine))

    @property
    def _draw(self) -> ImageDraw.ImageDraw:
        return ImageDraw.Draw(self.image)

    def _at(self, points: Iterable[Point]) -> list[Point]:
        return [(x * self.fine, y * self.fine) for x, y in points]

    def _length(self, length: float) -> int:
        return max(round(length * self.fine), 1)
