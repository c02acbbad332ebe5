"""Random changes of image files, through the reader, in processes with a memory limit.

    python -m tests.security.image_fuzz [TRIES] [SEED]

prints how many files were read and refused, the most memory and the longest try. A try that ends in
anything but an image or an error of this package is a failure; so is the end of its process, and a
process that does not go on.
"""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from clit_deploy.errors import ClitDeployError, error_message
from clit_deploy.images.image_files import open_image
from clit_deploy.system import memory
from tests.helpers import ROOT
from tests.security.fuzz import bent

ADDRESSES = 3_000_000_000
"""Bytes of address space of a process; the libraries take a third of it."""
ALLOWED = 400_000_000
"""Bytes that reading may take, as `--max-memory` says."""
SILENCE = 60
"""Seconds without an answer after which a process hangs."""


@dataclass
class Result:
    """What many tries did."""

    read: int = 0
    refused: int = 0
    most_memory: int = 0
    most_seconds: float = 0.0
    failures: list[str] = field(default_factory=list)


def samples() -> list[bytes]:
    """Small files of every format, with everything in them that a reader has to parse."""
    rng = np.random.RandomState(0)
    small = Image.fromarray(rng.randint(0, 256, (9, 12, 3), np.uint8))
    rgb = small.resize((48, 36), Image.Resampling.BICUBIC)
    rgba = rgb.copy()
    rgba.putalpha(rgb.convert("L"))
    deep = Image.fromarray(rng.randint(0, 65536, (20, 24)).astype(np.uint16))
    exif = rgb.getexif()
    exif[0x0112], exif[0x010F], exif[0x8769] = 6, "maker", {0xA002: 48, 0xA003: 36}
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "text " * 20, zip=True)
    text.add_itxt("Comment", "more")
    kinds: list[tuple[Image.Image, str, dict[str, object]]] = [
        (rgb, "PNG", {"exif": exif, "pnginfo": text, "dpi": (300, 300), "icc_profile": b"x" * 200}),
        (rgba, "PNG", {}),
        (rgb.quantize(16), "PNG", {"transparency": 3}),
        (deep, "PNG", {}),
        (rgb, "JPEG", {"exif": exif, "dpi": (72, 72)}),
        (rgb, "JPEG", {"progressive": True, "quality": 40}),
        (rgb.convert("CMYK"), "JPEG", {}),
        (rgba, "WEBP", {"exif": exif}),
        (rgb, "WEBP", {"lossless": True}),
        (rgb, "TIFF", {"compression": "tiff_lzw"}),
        (rgb, "TIFF", {"compression": "tiff_adobe_deflate", "dpi": (300, 300)}),
        (deep, "TIFF", {}),
        (rgb.convert("CMYK"), "TIFF", {"compression": "packbits"}),
        (rgb.quantize(32), "GIF", {}),
        (rgb.quantize(8), "GIF", {"transparency": 2, "interlace": True}),
    ]
    found = []
    for image, kind, options in kinds:
        file = io.BytesIO()
        image.save(file, kind, **options)
        found.append(file.getvalue())
    return found


def tried(path: Path) -> str:
    """How reading a file ends: `read`, `refused`, or what else happens."""
    try:
        with open_image(path) as image:
            image.decode(ALLOWED)
    except ClitDeployError as error:
        text = error_message(error)
        return "refused" if len(text) < 500 and "\n" not in text else f"the message {text!r:.999}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "read"


def work(first: int, last: int, seed: int) -> None:
    """Tries `first` to `last`, a line of JSON after each; runs in a process of its own."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    honest = samples()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image"
        for number in range(first, last):
            path.write_bytes(bent(honest[number % len(honest)], random.Random(f"{seed} {number}")))
            start = time.perf_counter()
            end = tried(path)
            answer = [number, end, time.perf_counter() - start, memory.peak()]
            print(json.dumps(answer), flush=True)


def fuzz(tries: int, seed: int) -> Result:
    """Start processes until every try has an end."""
    result, number = Result(), 0
    ends: Counter[str] = Counter()
    while number < tries:
        command = [
            sys.executable,
            "-m",
            __spec__.name,
            "--work",
            str(number),
            str(tries),
            str(seed),
        ]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                errors="replace",
                env=environment,
                timeout=SILENCE + tries / 20,
                check=False,
            )
            out, rest = done.stdout, f"exit {done.returncode}, {done.stderr[-300:]}"
        except subprocess.TimeoutExpired as error:
            out, rest = (error.stdout or b"").decode(), "hangs"
        answers = [json.loads(line) for line in out.splitlines() if line.endswith("]")]
        for at, end, seconds, peak in answers:
            ends[end] += 1
            if end not in ("read", "refused"):
                result.failures.append(f"{at}: {end}")
            result.most_seconds = max(result.most_seconds, seconds)
            result.most_memory = max(result.most_memory, peak)
        number += len(answers)
        if number < tries:
            result.failures.append(f"{number}: {rest}")
            number += 1
    result.read, result.refused = ends["read"], ends["refused"]
    return result


if __name__ == "__main__":
    if "--work" in sys.argv:
        work(*map(int, sys.argv[2:]))
    else:
        done = fuzz(*map(int, [*sys.argv[1:], *["2000", "1"][len(sys.argv) - 1 :]]))
        print(
            f"{done.read} read, {done.refused} refused, most memory {done.most_memory / 1e6:.0f} MB"
        )
        print(f"longest try {done.most_seconds:.2f} s, {len(done.failures)} failures")
        print("\n".join(done.failures[:50]))
        sys.exit(bool(done.failures))
