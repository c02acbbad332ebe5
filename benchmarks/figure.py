"""The README's figure: a part of the example picture, enlarged by bicubic and by the default model.

python -m benchmarks.figure [--scale 12] [--output docs/grapes_x12.jpg]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import clit_deploy

ROOT = Path(__file__).resolve().parents[1]
PART = (22, 30, 62, 62)
"""Left, top, right and bottom of the part that is shown, in pixels of the example."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=int, default=12)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "grapes_x12.jpg")
    args = parser.parse_args()
    small = Image.open(ROOT / "examples" / "grapes.png").convert("RGB")
    size = small.width * args.scale, small.height * args.scale
    with clit_deploy.load() as up:
        ours = up.upscale(np.asarray(small), scale=args.scale)
    pictures = {
        f"bicubic x{args.scale}": small.resize(size, Image.Resampling.BICUBIC),
        f"clit-deploy x{args.scale}": Image.fromarray((ours * 255 + 0.5).astype(np.uint8)),
    }
    box = tuple(side * args.scale for side in PART)
    wide, high = box[2] - box[0], box[3] - box[1]
    sheet = Image.new("RGB", (2 * wide + 8, high + 24), "white")
    draw = ImageDraw.Draw(sheet)
    for k, (name, picture) in enumerate(pictures.items()):
        sheet.paste(picture.crop(box), (k * (wide + 8), 24))
        draw.text((k * (wide + 8) + 2, 3), name, "black", ImageFont.load_default(15))
    args.output.parent.mkdir(exist_ok=True)
    sheet.save(args.output, quality=90)
    print(args.output)


if __name__ == "__main__":
    main()
