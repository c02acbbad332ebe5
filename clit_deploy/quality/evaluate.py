"""PSNR and SSIM by the protocol of the field, with bicubic interpolation for comparison."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.errors import ImageError, MissingFileError, OptionError, SizeError
from clit_deploy.images.image_files import read_image
from clit_deploy.images.image_folders import images_in, source_name
from clit_deploy.images.pixels import to_bytes
from clit_deploy.images.resample import jpeg_compressed, resize_bicubic
from clit_deploy.quality.metrics import WINDOW, luminance_of, psnr, ssim

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from clit_deploy.upscaler import Upscaler


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
    images: Path | Sequence[Path],
    scales: Sequence[float],
    *,
    border: int | None = None,
    luminance: bool = True,
    jpeg: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[Score]:
    """Shrink every image, upscale it again, and compare.

    Args:
        up: a loaded plan.
        images: high-resolution images: a folder, an image, or several of them.
        scales: factors from 1 to 64, whole or not.
        border: pixels on every side that are not compared; by default the scale, rounded up.
        luminance: compare luminance, or all three channels.
        jpeg: compress the shrunk images with this JPEG quality, 1 to 95, first; bicubic gets
            the same input.
        progress: called with the fraction that is done, 0 to 1.

    Raises:
        MissingFileError: a path does not exist, or there is no image.
        OptionError: a scale or a quality out of range.
        SizeError: an image too small for it.
    """
    paths = checked_images(images, scales)
    if jpeg is not None and not 1 <= jpeg <= 95:
        raise OptionError(f"The JPEG quality is {jpeg}; it must be a number from 1 to 95.")
    scores: list[Score] = []
    for path in paths:
        for scale in scales:
            found = score_image(up, path, scale, border=border, luminance=luminance, jpeg=jpeg)
            scores.append(found)
            if progress:
                progress(len(scores) / len(paths) / len(scales))
    return scores


def checked_images(images: Path | Sequence[Path], scales: Sequence[float]) -> list[Path]:
    """The images that are named, if there are any and the scales are valid.

    Raises:
        MissingFileError: a path does not exist, or there is no image.
        OptionError: a scale out of range.
    """
    paths = images_in(images)
    if not paths:
        raise MissingFileError(f"{source_name(images)} contains no images; name another folder.")
    if not scales or not all(1 <= scale <= 64 for scale in scales):
        raise OptionError(f"The scales are {list(scales)}; they must be numbers from 1 to 64.")
    return paths


def scorable(
    path: Path, scale: float, edge: int | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """`low_and_high` of an image that can be scored inside a border of `edge` pixels.

    Raises:
        SizeError: too few pixels are left inside.
    """
    low, high = low_and_high(path, scale)
    edge = math.ceil(scale) if edge is None else edge
    height, width, _ = high.shape
    if min(height, width) <= 2 * edge + WINDOW:
        raise SizeError(
            f"{path.name} is {width}x{height} at x{scale:g}; fewer than {WINDOW} pixels "
            f"are left inside a border of {edge}. Leave it out, or use a smaller scale or border."
        )
    return low, high


def score(
    output: NDArray[np.floating], high: NDArray[np.uint8], scale: float
) -> tuple[float, float]:
    """PSNR (dB) and SSIM of an image's luminance without a border of `scale` pixels."""
    edge = math.ceil(scale)
    ours, truth = (_compared(image, edge, luminance=True) for image in (output, high / 255))
    return psnr(ours, truth), ssim(ours, truth)


def score_image(
    up: Upscaler,
    path: Path,
    scale: float,
    *,
    border: int | None = None,
    luminance: bool = True,
    jpeg: int | None = None,
) -> Score:
    """Score one image at one scale; see `evaluate`."""
    edge = math.ceil(scale) if border is None else border
    low, high = scorable(path, scale, edge)
    low = low if jpeg is None else jpeg_compressed(low, jpeg)
    size = high.shape[0], high.shape[1]
    output = up.upscale(low, size=size)
    bicubic = resize_bicubic(low, size) / 255
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
    """Input and ground truth: the image cropped to `round(floor(side / s) * s)`, and that crop
    shrunk by Pillow's bicubic filter; both uint8 `[h, w, 3]`.

    Raises:
        ImageError: the image cannot be read, or is smaller than the scale.
    """
    pixels = to_bytes(read_image(path).rgb)
    height, width = (math.floor(length / scale) for length in pixels.shape[:2])
    if min(height, width) < 1:
        raise ImageError(f"{path.name} is smaller than the scale, {scale:g}.")
    high = pixels[: round(height * scale), : round(width * scale)]
    return resize_bicubic(high, (height, width)), high


def _compared(image: NDArray[np.floating], border: int, luminance: bool) -> NDArray[np.float64]:
    """The part of an image that is compared: `[h, w, channels]` without the border, 0 to 1."""
    exact = image.astype(np.float64)
    channels = luminance_of(exact)[..., None] if luminance else exact
    return channels[border : len(channels) - border, border : channels.shape[1] - border]
