"""Images for calibration: those of a folder, or of the package if no folder is named."""

from __future__ import annotations

import hashlib
import itertools
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.calibration.originals import (
    HELD_OUT,
    SEEN,
    Part,
    Photograph,
    drawings,
    is_flat,
    part,
)
from clit_deploy.errors import CalibrationError
from clit_deploy.images.image_files import read_image
from clit_deploy.images.image_folders import images_in, source_name
from clit_deploy.images.pixels import to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from clit_deploy.calibration.originals import Original

log = logging.getLogger(__name__)

PHOTOGRAPHS = Path(__file__).parent / "photographs"
"""The default set; SOURCES.md in it names the authors."""

MIN_IMAGES = 4
"""Least number of images: three to calibrate with, one to measure on."""
ENOUGH_IMAGES, MAX_IMAGES = 20, 40
"""With fewer images the measured loss is hardly more than a guess; more are not used."""
EVERY = 5
"""Every fifth image is held out: not for calibration but for measurement (the last one if there are
fewer)."""

SIDE = 512
"""Largest side of the part of an image that is used; only this part stays in memory."""
MIN_SIDE = 64
"""Smallest side of a usable image: it can be shrunk by 30."""


@dataclass(frozen=True)
class CalibrationImages:
    """Photographs, uint8 `[h, w, 3]`, sides at most `SIDE`; drawings of every kind join them."""

    description: str
    photographs: tuple[NDArray[np.uint8], ...]
    """For calibration."""
    held_out_photographs: tuple[NDArray[np.uint8], ...]
    """For measuring the loss."""

    @property
    def seen(self) -> list[Original]:
        """All images for calibration."""
        return [*map(Photograph, self.photographs), *drawings(SEEN)]

    @property
    def held_out(self) -> list[Original]:
        """All images for measuring the loss."""
        return [*map(Photograph, self.held_out_photographs), *drawings(HELD_OUT)]

    @property
    def few_held_out(self) -> list[Original]:
        """Fewer of them, for what is measured many times."""
        return [*map(Photograph, self.held_out_photographs), *drawings(HELD_OUT[:1])]

    @property
    def digest(self) -> str:
        """SHA-256 of the pixels of the photographs, and of what the drawings are."""
        digest = hashlib.sha256(f"{drawings(SEEN)} {drawings(HELD_OUT)}".encode())
        for image in (*self.photographs, *self.held_out_photographs):
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
    apart = range(EVERY - 1, len(ordered), EVERY) or [len(ordered) - 1]
    drawn = len(drawings(SEEN)) + len(drawings(HELD_OUT))
    return CalibrationImages(
        f"{len(ordered)} images of {source_name(images)} and {drawn} drawings",
        tuple(image for k, image in enumerate(ordered) if k not in apart),
        tuple(ordered[k] for k in apart),
    )


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
        if is_flat(kept):
            log.warning("%s is flat; it is not used", path.name)
            continue
        yield path, kept
