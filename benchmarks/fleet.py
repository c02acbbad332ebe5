"""Images per second of N workers: a simulation from measured times, beside real runs.

    python -m benchmarks.fleet [--images 24] [--workers 1,2,4] [-e MODEL] [--scale 4] [--cores N]

One process of one thread measures how long it starts, reads, computes and writes an image. The
simulation gives every worker its share of the images (as `run --shard` does) and lets those that
compute share the cores. Then the real commands run, and both are printed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

import clit_deploy
from benchmarks.common import report
from clit_deploy.images.image_files import read_image
from clit_deploy.images.image_writer import image_writer
from clit_deploy.images.pixels import to_bytes

SIDES = (160, 120)
"""Width and height of the images."""
STEP = 0.01
"""Seconds that the simulation advances at once."""


@dataclass(frozen=True)
class Times:
    """Seconds of CPU of one worker with one thread."""

    start: float
    read: float
    compute: float
    write: float

    def of(self, images: int) -> float:
        """Seconds of a core that a worker needs for its images."""
        return self.start + images * (self.read + self.compute + self.write)


def simulate(times: Times, images: int, workers: int, cores: float) -> float:
    """Seconds until the last worker has finished: those at work share the cores equally."""
    left = [times.of(len(range(worker, images, workers))) for worker in range(workers)]
    clock = 0.0
    while any(seconds > 0 for seconds in left):
        active = sum(seconds > 0 for seconds in left)
        left = [seconds - STEP * min(1.0, cores / active) for seconds in left]
        clock += STEP
    return clock


def draw_images(folder: Path, count: int) -> None:
    """Write that many smooth images into a new folder."""
    folder.mkdir()
    width, height = SIDES
    for k in range(count):
        pixels = np.random.RandomState(k).randint(0, 256, (height // 8, width // 8, 3), np.uint8)
        large = Image.fromarray(pixels).resize(SIDES, Image.Resampling.BICUBIC)
        large.save(folder / f"{k:04}.png")


def mean_bytes(folder: Path) -> float:
    """Mean size of the files of a folder."""
    return float(np.mean([path.stat().st_size for path in folder.iterdir()]))


def command(folder: Path, model: str, scale: float, *more: str) -> list[str]:
    """The command that a worker runs."""
    start = [sys.executable, "-m", "clit_deploy", "run", str(folder / "in"), "-e", model]
    out = ["-s", str(scale), "-o", str(folder / "out"), "--force", "-q"]
    return [*start, *out, "--runtime", "cpu", "--threads", "1", *more]


def measure_times(folder: Path, model: str, scale: float) -> Times:
    """Median times of three images, and of the start of a process."""
    paths = sorted((folder / "in").iterdir())[:3]
    found = []
    with clit_deploy.load(model, runtime="cpu", threads=1) as up:
        up.upscale(read_image(paths[0]).rgb, scale=scale)
        for path in paths:
            begin = time.perf_counter()
            image = read_image(path)
            read = time.perf_counter()
            rgb = up.upscale(image.rgb, scale=scale)
            computed = time.perf_counter()
            pixels = to_bytes(rgb)
            with image_writer(folder / "one.png", pixels.shape[:2], 3) as write_rows:
                write_rows(pixels)
            found.append((read - begin, computed - read, time.perf_counter() - computed))
    read, compute, write = (float(np.median(column)) for column in zip(*found, strict=True))
    begin = time.perf_counter()
    count = len(list((folder / "in").iterdir()))
    subprocess.run(
        command(folder, model, scale, "--shard", f"1/{count}"),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    start = time.perf_counter() - begin - read - compute - write
    return Times(max(start, 0.0), read, compute, write)


def run_workers(folder: Path, model: str, scale: float, workers: int) -> float:
    """Seconds of that many real processes."""
    begin = time.perf_counter()
    shards = (f"{k}/{workers}" for k in range(1, workers + 1))
    commands = [command(folder, model, scale, "--shard", shard) for shard in shards]
    running = [subprocess.Popen(one, stdout=subprocess.DEVNULL) for one in commands]
    for process in running:
        if process.wait():
            raise SystemExit("a worker failed")
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--workers", default="1,2,4")
    parser.add_argument("-e", "--engine", default="clit-fast")
    parser.add_argument("--scale", type=float, default=4)
    parser.add_argument("--cores", type=float, default=os.cpu_count())
    parser.add_argument("--json")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_images(folder / "in", args.images)
        times = measure_times(folder, args.engine, args.scale)
        print(times)
        for workers in map(int, args.workers.split(",")):
            simulated = simulate(times, args.images, workers, args.cores)
            measured = run_workers(folder, args.engine, args.scale, workers)
            rows.append(
                {
                    "workers": workers,
                    "simulated s": simulated,
                    "measured s": measured,
                    "images per second": args.images / measured,
                }
            )
    report(f"{args.images} images of {SIDES[0]}x{SIDES[1]} at x{args.scale:g}", rows, args.json)


if __name__ == "__main__":
    main()
