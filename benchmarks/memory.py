"""Peak resident memory of `clit-deploy run` at a large scale, under a limit and without one.

    python -m benchmarks.memory [--scale 30] [--size 320x240] [--limit 1GB] [--dim 64] [--json FILE]
    python -m benchmarks.memory --files [--megapixels 200] [--limit 1GB]
    python -m benchmarks.memory --linear [--limit 1GB]
    python -m benchmarks.memory --giant [--megapixels 500] [--limit 1GB]

Runs the real command in processes of its own, compares the two outputs pixel by pixel, and
prints what was predicted and what was held. `--dim 256` is the published CLIT (slow: the output
has 69 megapixels); memory differs, the scheduling does not.

`--files` measures reading and writing instead, with a model of 8 channels: a photograph of 12
megapixels as JPEG with a profile and EXIF at x2, and a large PNG at x1.5. `--linear` enlarges an
image of 640x480 pixels to 1 to 276 megapixels: CPU time and memory for each. `--giant` doubles the
sides of a tiled TIFF, which takes hours.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

import clit_deploy
from benchmarks.common import EDSR, clit_spec, random_plan, report
from clit_deploy.images.png import PngWriter


def run(plan: Path, image: Path, target: Path, scale: float, limit: str | None) -> dict[str, float]:
    """One run of the command; what it reports about itself."""
    command = [sys.executable, "-m", "clit_deploy", "run", "-e", str(plan), str(image)]
    command += ["--scale", str(scale), "-o", str(target), "--force", "--runtime", "cpu", "--json"]
    if limit:
        command += ["--max-memory", limit]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found: dict[str, float] = json.loads(done.stdout)["results"][0]
    used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {**found, "cpu_seconds": used}


def small_liif() -> dict[str, Any]:
    """LIIF that is small enough for hundreds of megapixels."""
    encoder = {**EDSR, "args": {"no_upsampling": True, "n_resblocks": 1, "n_feats": 8}}
    mlp = {"name": "mlp", "args": {"out_dim": 3, "hidden_list": [24, 24]}}
    return {"name": "liif", "args": {"encoder_spec": encoder, "imnet_spec": mlp}}


def write_photograph(path: Path) -> Path:
    """A JPEG of 4000x3000 pixels, with a profile and EXIF."""
    rng = np.random.RandomState(0)
    small = Image.fromarray(rng.randint(0, 256, (375, 500, 3), np.uint8))
    exif = Image.Exif()
    exif[0x010F], exif[0x0132] = "maker", "2026:01:02 03:04:05"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photograph = small.resize((4000, 3000), Image.Resampling.BICUBIC)
    photograph.save(path, quality=92, exif=exif, icc_profile=profile)
    return path


def write_large(path: Path, megapixels: float) -> Path:
    """An RGB PNG of 4:3, made row by row."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = height * 4 // 3
    across = np.arange(width, dtype=np.uint32)[:, None] // 37 * np.array([1, 2, 3], np.uint32)
    with path.open("wb") as file, PngWriter(file, width, height, 3) as png:
        for row in range(height):
            png.write(((across + row // 29) % 251).astype(np.uint8)[None])
    return path


def measure_files(limit: str, megapixels: float) -> list[dict[str, Any]]:
    """A row for each file."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        _, plan = random_plan(small_liif(), folder)
        photograph = write_photograph(Path(folder) / "photograph.jpg")
        large = write_large(Path(folder) / "large.png", megapixels)
        for image, scale in ((photograph, 2), (large, 1.5)):
            target = Path(folder) / f"out{image.suffix}"
            found = run(plan, image, target, scale, limit)
            rows.append(
                {
                    "file": f"{image.name} x{scale:g}",
                    "limit": limit,
                    "output": f"{found['width']}x{found['height']}",
                    "predicted MB": found["predicted_bytes"] / 1e6,
                    "peak MB": found["peak_bytes"] / 1e6,
                    "seconds": found["seconds"],
                }
            )
    return rows


LINEAR = (1.8, 3.3, 5.7, 10.4, 18, 30)
"""Scales that make 1, 3, 10, 33, 100 and 276 megapixels of 640x480."""


def measure_linear(limit: str) -> list[dict[str, Any]]:
    """A row for each output of one image."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        _, plan = random_plan(small_liif(), folder)
        image = write_large(Path(folder) / "image.png", 640 * 480 / 1e6)
        for scale in LINEAR:
            found = run(plan, image, Path(folder) / "out.png", scale, limit)
            megapixels = found["width"] * found["height"] / 1e6
            rows.append(
                {
                    "output MP": megapixels,
                    "limit": limit,
                    "CPU s": found["cpu_seconds"],
                    "CPU s/MP": found["cpu_seconds"] / megapixels,
                    "predicted MB": found["predicted_bytes"] / 1e6,
                    "peak MB": found["peak_bytes"] / 1e6,
                }
            )
            print(*rows[-1].values(), file=sys.stderr, flush=True)
    return rows


def largest_difference(plan: Path, source: Path, target: Path, windows: int = 20) -> int:
    """Random windows of a file at x2 against the same plan on the input around each, in levels."""
    from clit_deploy.images.vips_library import vips

    upscaler = clit_deploy.load(str(plan), runtime="cpu")
    random, side, around, largest = np.random.RandomState(0), 96, 32, 0
    given, made = (vips().Image.tiffload(str(path)) for path in (source, target))
    for _ in range(windows):
        x, y = (int(random.randint(around, n - side - around)) for n in (given.width, given.height))
        whole = side + 2 * around
        pixels = given.crop(x - around, y - around, whole, whole).numpy()
        region = (around, around, side, side)
        rendered = upscaler.encode(pixels).render(scale=2, region=region, dtype=np.uint8)
        found = made.crop(2 * x, 2 * y, 2 * side, 2 * side).numpy()
        largest = max(largest, int(np.abs(rendered.astype(np.int16) - found).max()))
    return largest


def measure_giant(limit: str, megapixels: float) -> list[dict[str, Any]]:
    """A tiled TIFF at x2, written as a tiled TIFF."""
    from clit_deploy.images.vips_library import vips

    with tempfile.TemporaryDirectory() as folder:
        _, plan = random_plan(small_liif(), folder)
        png, tiff = Path(folder) / "large.png", Path(folder) / "large.tif"
        write_large(png, megapixels)
        stored = vips().Image.pngload(str(png), access="sequential")
        stored.tiffsave(str(tiff), tile=True, compression="deflate", bigtiff=True)
        target = Path(folder) / "out.tif"
        found = run(plan, tiff, target, 2, limit)
        difference = largest_difference(plan, tiff, target)
    return [
        {
            "input MP": megapixels,
            "limit": limit,
            "output MP": found["width"] * found["height"] / 1e6,
            "predicted MB": found["predicted_bytes"] / 1e6,
            "peak MB": found["peak_bytes"] / 1e6,
            "seconds": found["seconds"],
            "difference in 20 windows": difference,
        }
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=30)
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--limit", default="1GB")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--no-unlimited", action="store_true", help="only the limited run")
    parser.add_argument("--files", action="store_true", help="measure reading and writing")
    parser.add_argument("--linear", action="store_true", help="measure outputs of 1 to 276 MP")
    parser.add_argument("--giant", action="store_true", help="measure a tiled TIFF at x2")
    parser.add_argument("--megapixels", type=float, help="of the large file; 200 or 500")
    parser.add_argument("--json")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if args.files:
        rows = measure_files(args.limit, args.megapixels or 200)
    elif args.linear:
        rows = measure_linear(args.limit)
    elif args.giant:
        rows = measure_giant(args.limit, args.megapixels or 500)
    if rows:
        report("Memory of large files, LIIF with 8 channels", rows, args.json)
        return
    width, height = map(int, args.size.split("x"))
    Image.MAX_IMAGE_PIXELS = None
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
                    "output": f"{found['width']}x{found['height']}",
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
