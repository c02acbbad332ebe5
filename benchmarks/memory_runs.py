"""Forty runs of `clit-deploy run` under `--max-memory`: what each process held, reading included.

    python -m benchmarks.memory_runs [--seconds 20] [--plan FILE ...] [--json FILE]

Sizes, modes, formats, scales, models and limits take turns. Every run is the real command in a
process of its own, whose peak resident memory the system reports. A run that takes more CPU time
than `--seconds` is stopped: by then the image is read and the first tiles are rendered, and the
later ones are like them. A run that does not fit must be refused, and may not exceed
the limit either. Linux only.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.common import clit_spec, liif_spec, random_plan, report

MEGAPIXELS = (0.1, 1, 5, 12, 24, 50, 80, 81)
FILES = {
    "photo.jpg": "RGB",
    "gray.png": "L",
    "palette.png": "P",
    "alpha.png": "RGBA",
    "deep.png": "I;16",
    "turned.jpg": "RGB",
    "photo.webp": "RGB",
    "photo.tif": "RGB",
}
SCALES = (1, 1.5, 2, 4, 12)
LIMITS = ("200MB", "300MB", "600MB", "1GB")
RUNS = 40


def make_image(path: Path, mode: str, megapixels: float) -> None:
    """A smooth image with some texture, in the mode and the format of its name."""
    width = round((megapixels * 4e6 / 3) ** 0.5)
    height = round(megapixels * 1e6 / width)
    small = np.random.RandomState(0).randint(0, 256, (96, 128, 3), np.uint8)
    image = Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257)
    elif mode == "RGBA":
        image.putalpha(image.getchannel(0))
    else:
        image = image.convert(mode)
    exif = image.getexif()
    if path.name.startswith("turned"):
        exif[0x0112] = 6
    fast = {"compress_level": 1} if path.suffix == ".png" else {}
    image.save(path, exif=exif, **fast)


def measure(command: list[str], seconds: int) -> tuple[str, float]:
    """Run a command: how it ended, and the most megabytes that it held."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        resource.prlimit(process.pid, resource.RLIMIT_CPU, (seconds, seconds))
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        text = errors.read()
    if process.returncode in (-signal.SIGKILL, -signal.SIGXCPU):
        end = "stopped"
    elif process.returncode == 0:
        end = "done"
    else:
        end = "refused" if "allowed" in text else f"failed: {text[-80:]}"
    return end, usage.ru_maxrss * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=20, help="CPU time of the longest run")
    parser.add_argument("--plan", action="append", help="default: a LIIF and a narrow CLIT, random")
    parser.add_argument("--make", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--plans", help=argparse.SUPPRESS)
    parser.add_argument("--json")
    args = parser.parse_args()
    if args.make:  # in a process of its own: a child's peak begins at its parent's
        make_image(Path(args.make[0]), args.make[1], float(args.make[2]))
        return
    if args.plans:
        for spec in (liif_spec(), clit_spec(16)):
            random_plan(spec, args.plans)
        return
    this = [sys.executable, "-m", "benchmarks.memory_runs"]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        if not args.plan:
            subprocess.run([*this, "--plans", folder], check=True)
        plans = args.plan or [f"{folder}/liif.plan", f"{folder}/clit.plan"]
        for run in range(RUNS):
            megapixels = MEGAPIXELS[run % len(MEGAPIXELS)]
            name, mode = list(FILES.items())[(run + run // 8) % len(FILES)]
            scale, limit = SCALES[run % len(SCALES)], LIMITS[(run // 2 + run // 8) % len(LIMITS)]
            plan = plans[run // 2 % len(plans)]
            image = Path(folder) / name
            subprocess.run([*this, "--make", str(image), mode, str(megapixels)], check=True)
            command = [
                sys.executable,
                "-m",
                "clit_deploy",
                "run",
                "-e",
                plan,
                str(image),
                "--force",
            ]
            command += ["--scale", str(scale), "-o", f"{folder}/out.png", "--runtime", "cpu"]
            command += ["--max-memory", limit]
            end, peak = measure(command, args.seconds)
            allowed = float(limit[:-2]) * (1000 if limit.endswith("GB") else 1)
            row = {"MP": megapixels, "image": f"{name} {mode}", "scale": scale}
            row |= {"model": Path(plan).stem}
            row |= {"limit MB": allowed, "end": end, "peak MB": round(peak), "ok": peak <= allowed}
            rows.append(row)
            print(*row.values(), sep="  ", file=sys.stderr, flush=True)
    exceeded = sum(not row["ok"] for row in rows)
    report(f"{exceeded} of {len(rows)} runs exceeded --max-memory", rows, args.json)


if __name__ == "__main__":
    main()
