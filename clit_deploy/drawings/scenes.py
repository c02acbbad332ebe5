"""What is drawn: a random scene of one kind, the same for the same seed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from clit_deploy.drawings.sheet import Sheet

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from clit_deploy.drawings.sheet import Color

LEAST_FINE = 8
"""Fine pixels across a pixel of a drawing, at least; text of 9 pixels needs them."""

WORDS = [
    *("Scale", "any", "image", "to", "size:", "File", "Edit", "Help", "OK", "Cancel", "100%"),
    *("(3.14)", "x", "=", "0;", "if", "y", ">", "27:", "return", "[a,", "b]", "The", "quick"),
    *("brown", "fox", "jumps", "over", "13", "lazy", "dogs", "&", "WWW", "@", "#5"),
]
SIZES = (9, 10, 11, 12, 13, 14, 16, 20, 28)
"""Heights of fonts, in pixels."""


GRAIN = {"night": 3.0}
"""Standard deviation of a noise as sensors have it, in levels of 255."""


def draw(kind: str, size: tuple[int, int], unit: float, seed: int) -> NDArray[np.uint8]:
    """A drawing, uint8 `[height, width, 3]`.

    Args:
        kind: one of `SCENES`.
        size: its height and width, in pixels.
        unit: what is one pixel wide in the drawing has `unit` pixels here, so that it has one pixel
            again when the image is shrunk by `unit`.
        seed: decides what is drawn.
    """
    height, width = size
    fine = math.ceil(max(2 * unit, LEAST_FINE))
    sheet = Sheet(math.ceil(width / unit), math.ceil(height / unit), fine)
    rng = np.random.RandomState(seed)
    SCENES[kind](sheet, rng)
    pixels = np.asarray(sheet.reduced(width, height, unit, Image.Resampling.BOX))
    if kind not in GRAIN:
        return pixels
    grain = rng.normal(0, GRAIN[kind], pixels.shape)
    return np.asarray((pixels + grain).round().clip(0, 255), np.uint8)


def text(sheet: Sheet, rng: np.random.RandomState) -> None:
    """Lines of text of several sizes; some of them are selected, as in a menu."""
    ink, paper = _ink_and_paper(rng)
    sheet.fill(paper)
    y = float(rng.uniform(-4, 2))
    while y < sheet.height:
        size = float(rng.choice(SIZES))
        chosen = rng.randint(len(WORDS), size=3 + sheet.width // 16)
        front = ink
        if rng.rand() < 0.2:
            bar, front = _color(rng), (255, 255, 255)
            right, low = sheet.width, round(y + 1.3 * size)
            sheet.polygon([(0, round(y)), (right, round(y)), (right, low), (0, low)], bar)
        sheet.text((rng.uniform(-size, 4), y), " ".join(WORDS[k] for k in chosen), size, front)
        y += 1.3 * size


def line_art(sheet: Sheet, rng: np.random.RandomState) -> None:
    """Straight and curved lines, rings and rays, most of them thin."""
    ink, paper = _ink_and_paper(rng)
    sheet.fill(paper)
    for _ in range(_count(sheet, 150)):
        width = rng.uniform(0.6, 2.5)
        x, y = rng.uniform(0, 1, 2) * (sheet.width, sheet.height)
        reach = rng.uniform(3, 16)
        shape = rng.randint(4)
        if shape == 0:
            sheet.ellipse(
                ((x - reach, y - reach / 2), (x + reach, y + reach / 2)), None, ink, width
            )
            continue
        turns = rng.uniform(0, 2 * np.pi) + np.arange(8) * np.pi / 4
        ends = [(x + reach * math.cos(t), y + reach * math.sin(t)) for t in turns]
        if shape == 1:
            for end in ends:
                sheet.line([(x, y), end], ink, width)
        elif shape == 2:
            sheet.line([ends[0], ends[4]], ink, width)
        else:
            steps = np.linspace(-reach, reach, 24)
            sheet.line([(x + s, y + 3 * math.sin(s / 2)) for s in steps], ink, width)


def flat_graphics(sheet: Sheet, rng: np.random.RandomState) -> None:
    """Boxes, discs and triangles in flat colors, some with an outline; boxes keep to the pixels."""
    sheet.fill(_color(rng))
    for _ in range(_count(sheet, 120)):
        x, y = rng.uniform(0, 1, 2) * (sheet.width, sheet.height)
        across, down = rng.uniform(2, 14, 2)
        fill, shape = _color(rng), rng.randint(3)
        ink = (0, 0, 0) if rng.rand() < 0.3 else None
        if shape == 0:
            sheet.ellipse(((x - across, y - down), (x + across, y + down)), fill, ink)
            continue
        left, top, right, low = (round(v) for v in (x - across, y - down, x + across, y + down))
        corners = [(left, top), (right, top), (right, low), (left, low)]
        sheet.polygon(corners[shape - 1 :], fill, ink)


def night(sheet: Sheet, rng: np.random.RandomState) -> None:
    """Houses with a few lit windows under a dark sky, stars, and lamps that glow.

    `draw` adds grain, as no photograph of a night is without."""
    above, below = (tuple(int(v) for v in rng.randint(0, 28, 3)) for _ in range(2))
    sky = Image.linear_gradient("L").resize(sheet.image.size)
    sheet.image.paste(ImageOps.colorize(sky, above, below))
    for _ in range(_count(sheet, 200)):
        x, y = (float(v) for v in rng.uniform(0, 1, 2) * (sheet.width, sheet.height))
        sheet.ellipse(((x, y), (x + 1, y + 1)), _gray(rng.randint(60, 256)))
    left = int(rng.randint(-8, 1))
    while left < sheet.width:
        right, top = left + int(rng.randint(8, 20)), int(rng.uniform(0.2, 0.8) * sheet.height)
        foot = sheet.height
        sheet.polygon(
            [(left, top), (right, top), (right, foot), (left, foot)], _gray(rng.randint(24))
        )
        for x in range(left + 1, right - 2, 4):
            for y in range(top + 2, foot, 5):
                if rng.rand() < 0.3:
                    light = (int(rng.randint(120, 256)), int(rng.randint(90, 220)), 60)
                    sheet.polygon([(x, y), (x + 2, y), (x + 2, y + 3), (x, y + 3)], light)
        left = right + int(rng.randint(4))
    lamps = rng.uniform(0, 1, (_count(sheet, 1500), 2)) * (sheet.width, sheet.height)
    sheet.add_glow([(x, y) for x, y in lamps], (255, 200, 120), 4)
    for x, y in lamps:
        sheet.ellipse(((x - 1, y - 1), (x + 1, y + 1)), (255, 250, 230))


def _count(sheet: Sheet, area: int) -> int:
    """How many things to draw if each has so many pixels to itself."""
    return max(sheet.width * sheet.height // area, 2)


def _ink_and_paper(rng: np.random.RandomState) -> tuple[Color, Color]:
    """Black on white half the time, a dark theme a quarter of it, or any two colors."""
    drawn = rng.rand()
    if drawn < 0.5:
        return (0, 0, 0), (255, 255, 255)
    if drawn < 0.75:
        return (255, 255, 255), _gray(rng.randint(40))
    return _color(rng), _color(rng)


def _color(rng: np.random.RandomState) -> Color:
    """Any color; its channels are often at one end, as those of drawings are."""
    red, green, blue = rng.uniform(-80, 335, 3).clip(0, 255).astype(int)
    return int(red), int(green), int(blue)


def _gray(level: int) -> Color:
    return int(level), int(level), int(level)


SCENES: dict[str, Callable[[Sheet, np.random.RandomState], None]] = {
    "text": text,
    "line art": line_art,
    "flat graphics": flat_graphics,
    "night": night,
}
"""What there is, by kind."""
