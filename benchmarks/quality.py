"""PSNR of the official LIIF weights on Set5, plan against the published code.

    python -m benchmarks.quality [--scales 2 3 4 6 8] [--json FILE]

Protocol of the field: HR cropped to a multiple of the scale, LR by Pillow's bicubic from the
8-bit crop, output clipped but not rounded, PSNR on Y without a border of `scale` pixels.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

import clit_deploy
from benchmarks.common import data_dir, report

if TYPE_CHECKING:
    from numpy.typing import NDArray

Y = np.array([65.738, 129.057, 25.064]) / 256


def low_and_high(path: Path, scale: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The protocol's input and ground truth."""
    image = Image.open(path).convert("RGB")
    low = image.width // scale, image.height // scale
    high = image.crop((0, 0, low[0] * scale, low[1] * scale))
    return np.asarray(high.resize(low, Image.Resampling.BICUBIC)), np.asarray(high)


def psnr(output: NDArray[np.float32], truth: NDArray[np.uint8], border: int) -> float:
    """PSNR on luminance in dB; `output` is float, 0 to 1."""
    error = ((output.astype(np.float64) - truth / 255) @ Y)[border:-border, border:-border]
    return float(-10 * np.log10(np.mean(error**2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scales", type=int, nargs="*", default=[2, 3, 4, 6, 8])
    parser.add_argument("--json")
    args = parser.parse_args()
    published = json.loads((data_dir() / "reference" / "liif-set5-psnr.json").read_text())
    checkpoint = data_dir() / "checkpoints" / "edsr-baseline-liif.pth"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        plan = clit_deploy.export_checkpoint(checkpoint, Path(folder) / "liif.plan")
        with clit_deploy.load(plan) as up:
            for scale in args.scales:
                ours, theirs = [], []
                for name, (liif, _) in published[str(scale)].items():
                    low, high = low_and_high(data_dir() / "benchmarks" / "Set5" / name, scale)
                    ours.append(psnr(up.upscale(low, scale=scale), high, scale))
                    theirs.append(liif)
                worst = float(np.abs(np.subtract(ours, theirs)).max())
                rows.append(
                    {
                        "scale": scale,
                        "plan dB": float(np.mean(ours)),
                        "published dB": float(np.mean(theirs)),
                        "largest difference dB": worst,
                    }
                )
    report("Official LIIF on Set5, Y channel", rows, args.json)


if __name__ == "__main__":
    main()
