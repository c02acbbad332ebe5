"""The figure of the model cards: what each model makes of small images at x12.

    python -m train.card_figure

draws `clit_deploy/zoo/models.jpg`: one row for line art, text, an icon and a photograph, one column
for bicubic and each model of the package. The drawings are made here at sixteen times their size
and reduced with Pillow's bicubic filter, as the models' training images are.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import clit_deploy
from clit_deploy.drawings.sheet import Sheet
from clit_deploy.zoo.named_models import FOLDER, named_models

SCALE = 12
WIDTH, HEIGHT = 32, 24
"""Size of the small images."""
FINE = 16
GAP, TITLE = 6, 26
INK = (28, 28, 36)


def line_art() -> Image.Image:
    """Rays and rings in thin black lines."""
    sheet = Sheet(WIDTH, HEIGHT, FINE, (250, 248, 240))
    for k in range(12):
        way = math.cos(k * math.pi / 6), math.sin(k * math.pi / 6)
        sheet.line([(11 + r * way[0], 12 + r * way[1]) for r in (5, 10)], INK, 1)
    sheet.ellipse(((7.5, 8.5), (14.5, 15.5)), (250, 205, 70), INK)
    for k in range(4):
        wave = [(20 + x / 4, 5 + 4.5 * k + 1.5 * math.sin(x / 3)) for x in range(48)]
        sheet.line(wave, INK, 0.5 + 0.3 * k)
    return _reduced(sheet)


def text() -> Image.Image:
    """Two lines of small dark text on white."""
    sheet = Sheet(WIDTH, HEIGHT, FINE, (255, 255, 255))
    for line, (words, size) in enumerate((("Scale 12", 7.0), ("any size", 8.0))):
        sheet.text((1.5, 2 + 10.5 * line), words, size, INK)
    return _reduced(sheet)


def icon() -> Image.Image:
    """A folder in flat colors, with an outline."""
    sheet = Sheet(WIDTH, HEIGHT, FINE, (236, 240, 246))
    back = [(6, 5), (13, 5), (15, 8), (26, 8), (26, 20), (6, 20)]
    sheet.polygon(back, (214, 150, 40), INK)
    sheet.polygon([(4, 11), (28, 11), (26, 20), (6, 20)], (250, 196, 76), INK)
    sheet.ellipse(((18, 13), (23, 18)), (66, 150, 90), (255, 255, 255), 0.5)
    return _reduced(sheet)


def photograph() -> Image.Image:
    """A part of the photograph that the package holds."""
    left, top = 28, 34
    with Image.open(FOLDER / "grapes.png") as image:
        return image.convert("RGB").crop((left, top, left + WIDTH, top + HEIGHT))


def main() -> None:
    """Draw the figure."""
    small = [make() for make in (line_art, text, icon, photograph)]
    columns = {"bicubic": [_bicubic(image) for image in small]}
    for name in named_models():
        with clit_deploy.load(name, runtime="cpu") as up:
            columns[name] = [_upscaled(up, image) for image in small]
    wide, high = WIDTH * SCALE, HEIGHT * SCALE
    size = (len(columns) * (wide + GAP) - GAP, TITLE + len(small) * (high + GAP) - GAP)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for column, (name, made) in enumerate(columns.items()):
        left = column * (wide + GAP)
        draw.text((left + 2, 3), f"{name} x{SCALE}", "black", ImageFont.load_default(18))
        for row, image in enumerate(made):
            sheet.paste(image, (left, TITLE + row * (high + GAP)))
    sheet.save(FOLDER / "models.jpg", quality=88)


def _reduced(sheet: Sheet) -> Image.Image:
    return sheet.reduced(WIDTH, HEIGHT, 1, Image.Resampling.BICUBIC)


def _bicubic(image: Image.Image) -> Image.Image:
    return image.resize((WIDTH * SCALE, HEIGHT * SCALE), Image.Resampling.BICUBIC)


def _upscaled(up: clit_deploy.Upscaler, image: Image.Image) -> Image.Image:
    made = up.upscale(np.asarray(image), scale=SCALE)
    return Image.fromarray((made * 255 + 0.5).astype(np.uint8))


if __name__ == "__main__":
    main()
