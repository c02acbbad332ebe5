"""Forty runs of `clit-deploy run` under `--max-memory`: what each process held, reading included.

    python -m benchmarks.memory_runs [--seconds 15] [--dim 16] [--json FILE]

Sizes, modes, formats, scales, models and limits take turns. Every run is the real command in a
process of its own, whose peak resident memory the system reports. A run that takes longer than
`--seconds` is stopped: by then the image is read and the first tiles are rendered, and the later
ones are like them. A run that does not fit must be refused, and may not exceed the limit either.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
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
    image.save(path, exif=exif)


def measure(command: list[str], seconds: float) -> tuple[str, float]:
    """Run a command: how it ended, and the most megabytes that it held."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        timer = threading.Timer(seconds, process.send_signal, [signal.SIGKILL])
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        text = errors.read()
    if process.returncode == -signal.SIGKILL:
        end = "stopped"
    elif process.returncode == 0:
        end = "done"
    else:
        end = "refused" if "allowed" in text else f"failed: {text[-80:]}"
    return end, usage.ru_maxrss / 1e3 * (1.024 if sys.platform != "darwin" else 1e-3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=15, help="longest run")
    parser.add_argument("--dim", type=int, default=16, help="width of the random CLIT")
    parser.add_argument("--make", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--plans", help=argparse.SUPPRESS)
    parser.add_argument("--json")
    args = parser.parse_args()
    if args.make:  # in a process of its own: a child's peak begins at its parent's
        make_image(Path(args.make[0]), args.make[1], float(args.make[2]))
        return
    if args.plans:
        for spec in (liif_spec(), clit_spec(args.dim)):
            random_plan(spec, args.plans)
        return
    this = [sys.executable, "-m", "benchmarks.memory_runs"]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*this, "--plans", folder, "--dim", str(args.dim)], check=True)
        for run in range(RUNS):
            megapixels = MEGAPIXELS[run % len(MEGAPIXELS)]
            name, mode = list(FILES.items())[(run + run // 8) % len(FILES)]
            scale, limit = SCALES[run % len(SCALES)], LIMITS[(run // 2 + run // 8) % len(LIMITS)]
            plan = ("liif", "clit")[run // 2 % 2]
            image = Path(folder) / name
            subprocess.run([*this, "--make", str(image), mode, str(megapixels)], check=True)
            command = [sys.executable, "-m", "clit_deploy", "run", "-e", f"{folder}/{plan}.plan"]
            command += [str(image), "--scale", str(scale), "-o", f"{folder}/out.png", "--force"]
            command += ["--runtime", "cpu", "--max-memory", limit]
            end, peak = measure(command, args.seconds)
            allowed = float(limit[:-2]) * (1000 if limit.endswith("GB") else 1)
            row = {"MP": megapixels, "image": f"{name} {mode}", "scale": scale, "model": plan}
            row |= {"limit MB": allowed, "end": end, "peak MB": round(peak), "ok": peak <= allowed}
            rows.append(row)
            print(*row.values(), sep="  ", file=sys.stderr, flush=True)
    exceeded = sum(not row["ok"] for row in rows)
    report(f"{exceeded} of {len(rows)} runs exceeded --max-memory", rows, args.json)


if __name__ == "__main__":
    main()
