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

import numpy as np

import clit_deploy
from benchmarks.common import data_dir, report
from clit_deploy.quality.evaluate import evaluate


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
                scores = evaluate(up, data_dir() / "benchmarks" / "Set5", [scale])
                ours = [score.psnr for score in scores]
                theirs = [published[str(scale)][score.image][0] for score in scores]
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
