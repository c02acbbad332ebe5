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
from clit_deploy.zoo.named_models import FOLDER, named_models

SCALE = 12
WIDTH, HEIGHT = 32, 24
"""Size of the small images."""
FINE = 16
GAP, TITLE = 6, 26
INK = (28, 28, 36)


def line_art() -> Image.Image:
    """Rays and rings in thin black lines."""
    image, draw = _sheet((250, 248, 240))
    for k in range(12):
        way = math.cos(k * math.pi / 6), math.sin(k * math.pi / 6)
        draw.line([_at(11 + r * way[0], 12 + r * way[1]) for r in (5, 10)], INK, FINE)
    draw.ellipse([_at(7.5, 8.5), _at(14.5, 15.5)], (250, 205, 70), INK, FINE)
    for k in range(4):
        wave = [_at(20 + x / 4, 5 + 4.5 * k + 1.5 * math.sin(x / 3)) for x in range(48)]
        draw.line(wave, INK, round(FINE * (0.5 + 0.3 * k)), joint="curve")
    return _reduced(image)


def text() -> Image.Image:
    """Two lines of small dark text on white."""
    image, draw = _sheet((255, 255, 255))
    for line, (words, size) in enumerate((("Scale 12", 7.0), ("any size", 8.0))):
        font = ImageFont.load_default(size * FINE)
        draw.text(_at(1.5, 2 + 10.5 * line), words, INK, font)
    return _reduced(image)


def icon() -> Image.Image:
    """A folder in flat colors, with an outline."""
    image, draw = _sheet((236, 240, 246))
    back = [_at(6, 5), _at(13, 5), _at(15, 8), _at(26, 8), _at(26, 20), _at(6, 20)]
    draw.polygon(back, (214, 150, 40), INK, FINE)
    front = [_at(4, 11), _at(28, 11), _at(26, 20), _at(6, 20)]
    draw.polygon(front, (250, 196, 76), INK, FINE)
    draw.ellipse([_at(18, 13), _at(23, 18)], (66, 150, 90), (255, 255, 255), FINE // 2)
    return _reduced(image)


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


def _sheet(paper: tuple[int, int, int]) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (WIDTH * FINE, HEIGHT * FINE), paper)
    return image, ImageDraw.Draw(image)


def _at(x: float, y: float) -> tuple[float, float]:
    return x * FINE, y * FINE


def _reduced(image: Image.Image) -> Image.Image:
    return image.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)


def _bicubic(image: Image.Image) -> Image.Image:
    return image.resize((WIDTH * SCALE, HEIGHT * SCALE), Image.Resampling.BICUBIC)


def _upscaled(up: clit_deploy.Upscaler, image: Image.Image) -> Image.Image:
    made = up.upscale(np.asarray(image), scale=SCALE)
    return Image.fromarray((made * 255 + 0.5).astype(np.uint8))


if __name__ == "__main__":
    main()
