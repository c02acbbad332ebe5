"""PSNR and SSIM by the protocol of the field, with bicubic beside the plan."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from clit_deploy.errors import ImageError, MissingFileError, SizeError
from clit_deploy.images.image_files import images_in, read_image, to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from clit_deploy.upscaler import Upscaler

Y = np.array([65.738, 129.057, 25.064]) / 256
"""Luminance of BT.601 in studio range, as the field's Matlab code computes it."""

_K1, _K2, _WINDOW, _SIGMA = 0.01, 0.03, 11, 1.5
"""Constants of SSIM (Wang et al., IEEE TIP 2004, section III.C)."""


@dataclass(frozen=True)
class Score:
    """One image at one scale; PSNR in dB, SSIM at most 1."""

    image: str
    scale: float
    psnr: float
    ssim: float
    bicubic_psnr: float
    bicubic_ssim: float


def evaluate(
    up: Upscaler,
    folder: Path,
    scales: Sequence[float],
    *,
    border: int | None = None,
    luminance: bool = True,
    progress: Callable[[float], None] | None = None,
) -> list[Score]:
    """Shrink every picture of a folder, enlarge it again, and compare.

    Args:
        up: a loaded plan.
        folder: high-resolution pictures.
        scales: factors, at least 1, whole or not.
        border: pixels on every side that do not count; by default the scale, rounded up.
        luminance: compare Y, or all three colours.
        progress: is told the part that is done.

    Raises:
        MissingFileError: no such folder, or no picture in it.
        SizeError: a scale that makes no sense, or a picture too small for it.
    """
    paths = checked_pictures(folder, scales)
    scores: list[Score] = []
    for path in paths:
        for scale in scales:
            scores.append(score_picture(up, path, scale, border=border, luminance=luminance))
            if progress:
                progress(len(scores) / len(paths) / len(scales))
    return scores


def checked_pictures(folder: Path, scales: Sequence[float]) -> list[Path]:
    """The pictures of a folder, if there are any and the scales make sense.

    Raises:
        MissingFileError: no such folder, or no picture in it.
        SizeError: a scale that makes no sense.
    """
    paths = images_in(folder)
    if not paths:
        raise MissingFileError(f"There are no pictures in {folder}.")
    if not scales or not all(1 <= scale <= 64 for scale in scales):
        raise SizeError(f"The scales are {list(scales)}; give numbers from 1 to 64.")
    return paths


def scorable(
    path: Path, scale: float, edge: int | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """`low_and_high` of a picture that can be scored inside a border of `edge` pixels.

    Raises:
        SizeError: too little of it is left there.
    """
    low, high = low_and_high(path, scale)
    edge = math.ceil(scale) if edge is None else edge
    height, width, _ = high.shape
    if min(height, width) <= 2 * edge + _WINDOW:
        raise SizeError(
            f"{path.name} is {width}x{height} at x{scale:g}; less than {_WINDOW} pixels are "
            f"left inside a border of {edge}. Leave it out, or take a smaller scale or border."
        )
    return low, high


def score(
    output: NDArray[np.floating], high: NDArray[np.uint8], scale: float
) -> tuple[float, float]:
    """PSNR and SSIM of a picture's luminance without a border of `scale` pixels."""
    edge = math.ceil(scale)
    ours, truth = (_compared(image, edge, luminance=True) for image in (output, high / 255))
    return psnr(ours, truth), ssim(ours, truth)


def score_picture(
    up: Upscaler, path: Path, scale: float, *, border: int | None = None, luminance: bool = True
) -> Score:
    """One picture at one scale; see `evaluate`."""
    edge = math.ceil(scale) if border is None else border
    low, high = scorable(path, scale, edge)
    size = high.shape[1], high.shape[0]
    output = up.upscale(low, size=(high.shape[0], high.shape[1]))
    bicubic = np.asarray(Image.fromarray(low).resize(size, Image.Resampling.BICUBIC)) / 255
    ours, plain, truth = (
        _compared(image, edge, luminance) for image in (output, bicubic, high / 255)
    )
    return Score(
        path.name,
        scale,
        psnr(ours, truth),
        ssim(ours, truth),
        psnr(plain, truth),
        ssim(plain, truth),
    )


def low_and_high(path: Path, scale: float) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Input and ground truth: the picture cropped to `round(floor(side / s) * s)`, and that made
    smaller by Pillow's bicubic filter; both uint8 `[h, w, 3]`.

    Raises:
        ImageError: the picture cannot be read, or is smaller than the scale.
    """
    image = Image.fromarray(to_bytes(read_image(path).rgb))
    low = math.floor(image.width / scale), math.floor(image.height / scale)
    if min(low) < 1:
        raise ImageError(f"{path.name} is smaller than the scale, {scale:g}.")
    high = image.crop((0, 0, round(low[0] * scale), round(low[1] * scale)))
    return np.asarray(high.resize(low, Image.Resampling.BICUBIC)), np.asarray(high)


def _compared(image: NDArray[np.floating], border: int, luminance: bool) -> NDArray[np.float64]:
    """What is compared: `[h, w, channels]` without the border, 0 to 1."""
    exact = image.astype(np.float64)
    channels = (exact @ Y)[..., None] if luminance else exact
    return channels[border : len(channels) - border, border : channels.shape[1] - border]


def psnr(output: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Peak signal-to-noise ratio in dB, of values 0 to 1; infinite where both are equal, and NaN
    where the output is."""
    noise = float(np.mean((output - truth) ** 2))
    return -10 * math.log10(noise) if noise != 0 else math.inf


def ssim(output: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Mean structural similarity of `[h, w, channels]`, with the usual Gaussian window of 11."""
    mean_a, mean_b = _blur(output), _blur(truth)
    var_a = _blur(output**2) - mean_a**2
    var_b = _blur(truth**2) - mean_b**2
    cov = _blur(output * truth) - mean_a * mean_b
    c1, c2 = _K1**2, _K2**2
    top = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
    return float(np.mean(top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))))


def _blur(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian window along both axes, where it fits inside."""
    at = np.arange(_WINDOW) - _WINDOW // 2
    kernel = np.exp(-(at**2) / (2 * _SIGMA**2))
    kernel /= kernel.sum()
    for axis in (0, 1):
        parts = np.lib.stride_tricks.sliding_window_view(image, _WINDOW, axis=axis)
        image = parts @ kernel
    return image
