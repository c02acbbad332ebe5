"""Compare plans on the same images: accuracy, speed, file size, and where outputs differ."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.errors import OptionError
from clit_deploy.images.image_formats import check_format
from clit_deploy.images.image_writer import image_writer
from clit_deploy.images.pixels import to_bytes
from clit_deploy.quality.evaluate import checked_images, low_and_high, scorable, score
from clit_deploy.upscaler import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from clit_deploy.upscaler import Upscaler

GAIN = 10
"""Factor by which differences are amplified, around middle gray."""


@dataclass(frozen=True)
class Comparison:
    """One plan at one scale: means of accuracy and medians of speed over the images."""

    plan: str
    """Its file name; its path if two plans have the same name."""
    precision: str
    megabytes: float
    scale: float
    psnr: float
    drop: float
    """dB below the first plan's PSNR."""
    ssim: float
    ms_per_megapixel: float
    """Per megapixel of output; the plans take turns, image by image."""
    speedup: float
    """Speed relative to the first plan."""


def compare_plans(
    plans: Sequence[Path],
    images: Path | Sequence[Path],
    scales: Sequence[float],
    open_plan: Callable[[Path], Upscaler] = load,
    progress: Callable[[float], None] | None = None,
) -> list[Comparison]:
    """Score and time plans by the protocol of `evaluate`.

    Args:
        plans: two or more; the first is the baseline.
        images: high-resolution images: a folder, an image, or several of them.
        scales: factors from 1 to 64.
        open_plan: opens a plan where it should run.
        progress: called with the fraction that is done, 0 to 1.

    Raises:
        MissingFileError: a plan or an image is missing.
        OptionError: fewer than two plans, or a scale out of range.
        SizeError: an image too small for a scale. All are raised before anything runs.
    """
    if len(plans) < 2:
        raise OptionError("At least two plans are needed to compare them; name another one.")
    paths = checked_images(images, scales)
    for path, scale in itertools.product(paths, scales):
        scorable(path, scale)
    rows = []
    with _opened(plans, open_plan) as ups:
        for done, scale in enumerate(scales):
            rows += _at_scale(plans, ups, paths, scale)
            if progress:
                progress((done + 1) / len(scales))
    return rows


@contextlib.contextmanager
def _opened(
    plans: Sequence[Path], open_plan: Callable[[Path], Upscaler]
) -> Iterator[list[Upscaler]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(open_plan(plan)) for plan in plans]


def _at_scale(
    plans: Sequence[Path], ups: Sequence[Upscaler], paths: Sequence[Path], scale: float
) -> list[Comparison]:
    scores: list[list[tuple[float, float]]] = [[] for _ in ups]
    speeds: list[list[float]] = [[] for _ in ups]
    for path in paths:
        low, high = low_and_high(path, scale)
        size = high.shape[0], high.shape[1]
        for up, found, speed in zip(ups, scores, speeds, strict=True):
            output = up.upscale(low, size=size)
            start = time.perf_counter()
            up.upscale(low, size=size)  # the second run is timed: the first loads the graphs
            speed.append((time.perf_counter() - start) * 1e9 / (size[0] * size[1]))
            found.append(score(output, high, scale))
    first = [value for value, _ in scores[0]]
    same = len({plan.name for plan in plans}) < len(plans)
    return [
        Comparison(
            plan=str(plan) if same else plan.name,
            precision=up.plan.manifest.precision,
            megabytes=plan.stat().st_size / 1e6,
            scale=scale,
            psnr=statistics.fmean(value for value, _ in found),
            drop=statistics.fmean(a - b for a, (b, _) in zip(first, found, strict=True)),
            ssim=statistics.fmean(value for _, value in found),
            ms_per_megapixel=statistics.median(speed),
            speedup=statistics.median(a / b for a, b in zip(speeds[0], speed, strict=True)),
        )
        for plan, up, found, speed in zip(plans, ups, scores, speeds, strict=True)
    ]


def difference_figure(
    plans: Sequence[Path],
    images: Path | Sequence[Path],
    scale: float,
    target: Path,
    open_plan: Callable[[Path], Upscaler] = load,
) -> str:
    """Write the first image as the first plan upscales it, and beside it the difference of every
    other plan, amplified by `GAIN` on middle gray.

    Returns: the image's name.
    """
    path = checked_images(images, [scale])[0]
    low, high = low_and_high(path, scale)
    size = high.shape[0], high.shape[1]
    with _opened(plans, open_plan) as ups:
        outputs = [up.upscale(low, size=size) for up in ups]
    panels = [outputs[0], *(shown(output, outputs[0]) for output in outputs[1:])]
    whole = np.concatenate(panels, axis=1)
    shape = whole.shape[0], whole.shape[1]
    check_format(target, shape, alpha=False)
    with image_writer(target, shape, 3) as write:
        write(to_bytes(whole))
    return path.name


def shown(output: NDArray[np.float32], reference: NDArray[np.float32]) -> NDArray[np.float32]:
    """A difference as an image, 0 to 1: middle gray where there is none."""
    difference: NDArray[np.float32] = np.clip(np.float32(0.5) + GAIN * (output - reference), 0, 1)
    return difference
