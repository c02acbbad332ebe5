"""Draw the figures of the README with the tool itself.

    python docs/draw_figures.py [--plan PLAN] [--attention CLIT.plan]

The photograph is examples/grapes.png. The line art is drawn here, at sixteen times its size, and
reduced by Pillow's bicubic filter, which is the degradation that the models were trained on.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import clit_deploy
from clit_deploy.tasks.attention_figure import attention_file
from clit_deploy.tasks.output_size import OutputSize

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
LINES = ROOT / "examples" / "lines.png"
GRAPES = ROOT / "examples" / "grapes.png"

SCALE = 12
PANEL = (40, 30)
"""Width and height of what a panel shows, in pixels of its input."""
PARTS = {LINES: (6, 9), GRAPES: (22, 31)}
"""Left and top of the part of each picture that is shown."""
SUPERSAMPLING = 16
SIZE = (64, 48)
INK = (28, 28, 36)


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the figures of the README.")
    parser.add_argument("--plan", type=Path, help="model of x12.jpg; the default model if omitted")
    parser.add_argument("--attention", type=Path, help="a CLIT plan for attention.png")
    args = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    draw_lines().save(LINES)
    compare(args.plan).save(IMAGES / "x12.jpg", quality=92)
    if args.attention:
        with clit_deploy.load(args.attention) as up:
            attention_file(
                up, GRAPES, IMAGES / "attention.png", (534, 376), OutputSize(12), force=True
            )


def compare(plan: Path | None) -> Image.Image:
    """One row for each picture: bicubic beside the model."""
    wide, high = PANEL[0] * SCALE, PANEL[1] * SCALE
    gap, title = 8, 24
    sheet = Image.new("RGB", (2 * wide + gap, title + 2 * high + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for column, name in enumerate((f"bicubic x{SCALE}", f"clit-deploy x{SCALE}")):
        draw.text((column * (wide + gap) + 2, 2), name, "black", ImageFont.load_default(17))
    with clit_deploy.load(plan) as up:
        for row, (path, (left, top)) in enumerate(PARTS.items()):
            small = Image.open(path).convert("RGB")
            size = small.width * SCALE, small.height * SCALE
            box = tuple(side * SCALE for side in (left, top, left + PANEL[0], top + PANEL[1]))
            ours = up.upscale(np.asarray(small), scale=SCALE)
            pictures = (
                small.resize(size, Image.Resampling.BICUBIC),
                Image.fromarray((ours * 255 + 0.5).astype(np.uint8)),
            )
            for column, picture in enumerate(pictures):
                corner = column * (wide + gap), title + row * (high + gap)
                sheet.paste(picture.crop(box), corner)
    return sheet


def draw_lines() -> Image.Image:
    """A boat in flat colours and black outlines, 64x48."""
    picture = Image.new("RGB", (SIZE[0] * SUPERSAMPLING, SIZE[1] * SUPERSAMPLING), (176, 216, 240))
    pen = _Pen(ImageDraw.Draw(picture))
    pen.disc((13, 15), 5.5, (250, 205, 70))
    for ray in range(12):
        way = math.cos(ray * math.pi / 6), math.sin(ray * math.pi / 6)
        pen.line([(13 + r * way[0], 15 + r * way[1]) for r in (7.5, 10)], 0.8)
    pen.area([(29.5, 7), (29.5, 31), (14, 31)], (250, 246, 236))
    pen.area([(32, 10), (32, 31), (45, 31)], (226, 84, 66))
    for height in (15, 20, 25):
        pen.line([(29.5 - (height - 7) * 0.646, height), (29.5, height)], 0.5)
    pen.line([(30.8, 3), (30.8, 34)], 1.4)
    pen.area([(30.8, 3), (38, 5.2), (30.8, 7)], (66, 150, 90))
    pen.area([(10, 33.5), (50, 33.5), (43, 41), (17, 41)], (150, 92, 56))
    pen.line([(12, 36), (47.6, 36)], 0.6)
    for place in (22, 30, 38):
        pen.disc((place, 38.4), 1.2, (250, 246, 236))
    for row, height in enumerate((41.5, 44.5)):
        wave = [(x / 2, height + 1.2 * math.sin(x / 2 * 0.9 + row)) for x in range(129)]
        pen.area([*wave, (64, 48), (0, 48)], ((84, 150, 206), (58, 118, 178))[row])
    return picture.resize(SIZE, Image.Resampling.BICUBIC)


class _Pen:
    """Draws with outlines, in units of the reduced picture."""

    def __init__(self, draw: ImageDraw.ImageDraw) -> None:
        self._draw = draw

    def line(self, points: list[tuple[float, float]], width: float) -> None:
        scaled = [(x * SUPERSAMPLING, y * SUPERSAMPLING) for x, y in points]
        self._draw.line(scaled, INK, round(width * SUPERSAMPLING), joint="curve")

    def area(self, points: list[tuple[float, float]], color: tuple[int, int, int]) -> None:
        self._draw.polygon([(x * SUPERSAMPLING, y * SUPERSAMPLING) for x, y in points], color)
        self.line([*points, *points[:2]], 0.9)

    def disc(self, at: tuple[float, float], radius: float, color: tuple[int, int, int]) -> None:
        box = [(side + sign * radius) * SUPERSAMPLING for sign in (-1, 1) for side in at]
        self._draw.ellipse(box, color, INK, round(0.9 * SUPERSAMPLING))


if __name__ == "__main__":
    main()
