"""Peak resident memory of `clit-deploy run` at a large scale, under a limit and without one.

    python -m benchmarks.memory [--scale 30] [--size 320x240] [--limit 1GB] [--dim 64] [--json FILE]

Runs the real command in processes of its own, compares the two outputs pixel by pixel, and
prints what was predicted and what was held. `--dim 256` is the published CLIT (slow: the output
has 69 megapixels); memory differs, the scheduling does not.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import clit_spec, random_plan, report


def run(plan: Path, image: Path, target: Path, scale: float, limit: str | None) -> dict[str, float]:
    """One run of the command; what it reports about itself."""
    command = [sys.executable, "-m", "clit_deploy", "run", "-e", str(plan), str(image)]
    command += ["--scale", str(scale), "-o", str(target), "--runtime", "cpu", "--json"]
    if limit:
        command += ["--max-memory", limit]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)["results"][0]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=30)
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--limit", default="1GB")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--no-unlimited", action="store_true", help="only the limited run")
    parser.add_argument("--json")
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    Image.MAX_IMAGE_PIXELS = None
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        _, plan = random_plan(clit_spec(args.dim), folder)
        image = Path(folder) / "image.png"
        pixels = np.random.RandomState(0).randint(0, 256, (height // 8, width // 8, 3), np.uint8)
        Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).save(image)
        outputs = []
        for limit in [args.limit] + [None] * (not args.no_unlimited):
            target = Path(folder) / f"{limit}.png"
            found = run(plan, image, target, args.scale, limit)
            outputs.append(np.asarray(Image.open(target)))
            rows.append(
                {
                    "limit": limit or "none",
                    "output": f"{found['size'][1]}x{found['size'][0]}",  # type: ignore[index]
                    "tile": found["tile"],
                    "block": found["block"],
                    "predicted MB": found["predicted_bytes"] / 1e6,
                    "peak MB": found["peak_bytes"] / 1e6,
                    "seconds": found["seconds"],
                }
            )
        if len(outputs) == 2:
            same = bool(np.array_equal(*outputs))
            largest = int(np.abs(outputs[0].astype(np.int16) - outputs[1]).max())
            rows = [{**row, "equal": same, "largest difference": largest} for row in rows]
    report(f"Memory of CLIT (D={args.dim}, three stages) at x{args.scale:g}", rows, args.json)


if __name__ == "__main__":
    main()
