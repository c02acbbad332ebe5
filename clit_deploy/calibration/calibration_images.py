"""Images for calibration: those of a folder, or of the package if no folder is named."""

from __future__ import annotations

import hashlib
import itertools
import logging
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.errors import CalibrationError
from clit_deploy.images.image_files import read_image
from clit_deploy.images.image_folders import images_in, source_name
from clit_deploy.images.pixels import to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import Size

log = logging.getLogger(__name__)

PHOTOGRAPHS = Path(__file__).parent / "photographs"
"""The default set; SOURCES.md in it names the authors."""

MIN_IMAGES = 4
"""Least number of images: three to calibrate with, one to measure on."""
ENOUGH_IMAGES, MAX_IMAGES = 20, 40
"""With fewer images the measured loss is hardly more than a guess; more are not used."""
HELD_OUT = 5
"""Every fifth image is held out: not for calibration but for measurement (the last one if there are
fewer)."""

SIDE = 512
"""Largest side of the part of an image that is used; only this part stays in memory."""
MIN_SIDE = 64
"""Smallest side of a usable image: it can be shrunk by 30."""
FLAT = 2.5 / 255
"""Standard deviation below which an image is flat: it shows nothing."""


@dataclass(frozen=True)
class CalibrationImages:
    """Parts of high-resolution images, uint8 `[h, w, 3]`, sides at most `SIDE`."""

    description: str
    seen: tuple[NDArray[np.uint8], ...]
    """For calibration."""
    held_out: tuple[NDArray[np.uint8], ...]
    """For measuring the loss."""

    @property
    def digest(self) -> str:
        """SHA-256 of all pixels."""
        digest = hashlib.sha256()
        for image in (*self.seen, *self.held_out):
            digest.update(f"{image.shape}".encode())
            digest.update(np.ascontiguousarray(image).data)
        return digest.hexdigest()


def gather(images: Path | Sequence[Path] | None) -> CalibrationImages:
    """The usable ones of these images, at most `MAX_IMAGES`, evenly spaced by name.

    Args:
        images: a folder of photographs, or photographs; None for those of the package.

    Raises:
        CalibrationError: too few of the images are usable.
    """
    if images is None:
        log.warning(
            "no folder is named, so the photographs of the package are used; photographs like "
            "yours are better"
        )
        images = PHOTOGRAPHS
    paths = images_in(images)
    found = dict(itertools.islice(_usable(_spread(paths)), MAX_IMAGES))
    if len(found) < MIN_IMAGES:
        raise CalibrationError(
            f"{source_name(images)} has {len(found)} usable images among {len(paths)}; at least "
            f"{MIN_IMAGES} are needed, with sides of {MIN_SIDE} pixels or more and not flat. "
            f"{ENOUGH_IMAGES} to {MAX_IMAGES} photographs like those to be upscaled are best."
        )
    if len(found) < ENOUGH_IMAGES:
        text = "%d images are too few to measure the loss of INT8 well; %d are better"
        log.warning(text, len(found), ENOUGH_IMAGES)
    ordered = [found[path] for path in sorted(found)]
    apart = range(HELD_OUT - 1, len(ordered), HELD_OUT) or [len(ordered) - 1]
    return CalibrationImages(
        f"{len(ordered)} images of {source_name(images)}",
        tuple(image for k, image in enumerate(ordered) if k not in apart),
        tuple(ordered[k] for k in apart),
    )


class Part(Enum):
    """Which part of an image to take: the one with the most detail, or with a median amount."""

    BUSIEST = auto()
    USUAL = auto()


def part(image: NDArray[np.uint8], size: Size, which: Part) -> NDArray[np.uint8]:
    """One of nine parts of an image, ranked by how much adjacent pixels differ.

    `USUAL` is never a flat part: there an error of a hundredth of a gray level would matter.
    """
    tops, lefts = (
        sorted({(p - s) * step // 2 for step in range(3)})
        for p, s in zip(image.shape[:2], size, strict=True)
    )
    parts = [
        image[top : top + size[0], left : left + size[1]]
        for top, left in itertools.product(tops, lefts)
    ]
    ranked = sorted(parts, key=_detail)
    if which is Part.USUAL:
        ranked = [pixels for pixels in ranked if not _flat(pixels)] or ranked[-1:]
        return ranked[len(ranked) // 2]
    return ranked[-1]


def _detail(pixels: NDArray[np.uint8]) -> float:
    values = pixels.astype(np.float32)
    return float(sum(np.abs(np.diff(values, axis=axis)).sum() for axis in (0, 1)))


def _flat(pixels: NDArray[np.uint8]) -> bool:
    return float(pixels.std()) < 255 * FLAT


def _spread(paths: list[Path]) -> list[Path]:
    """The paths with evenly spaced ones first, then the others."""
    step = max(len(paths) / MAX_IMAGES, 1)
    first = [paths[int(k * step)] for k in range(min(len(paths), MAX_IMAGES))]
    taken = set(first)
    return [*first, *(path for path in paths if path not in taken)]


def _usable(paths: list[Path]) -> Iterator[tuple[Path, NDArray[np.uint8]]]:
    for path in paths:
        pixels = to_bytes(read_image(path).rgb)
        height, width, _ = pixels.shape
        if min(height, width) < MIN_SIDE:
            log.warning("%s has only %dx%d pixels; it is not used", path.name, width, height)
            continue
        kept = part(pixels, (min(height, SIDE), min(width, SIDE)), Part.BUSIEST).copy()
        if _flat(kept):
            log.warning("%s is flat; it is not used", path.name)
            continue
        yield path, kept
