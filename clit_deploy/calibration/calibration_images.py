"""Images to calibrate with: a folder's, or those of the package if no folder is named."""

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
from clit_deploy.images.image_files import images_in, read_image, source_name
from clit_deploy.images.pixels import to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import Size

log = logging.getLogger(__name__)

PHOTOGRAPHS = Path(__file__).parent / "photographs"
"""The default set; who took them is in its SOURCES.md."""

MIN_IMAGES = 4
"""Images: three to calibrate with, one to measure on."""
ENOUGH_IMAGES, MAX_IMAGES = 20, 40
"""With fewer, what INT8 costs is little more than a guess; more are not taken."""
HELD_OUT = 5
"""Every fifth picture is not calibrated with but measured on (with few of them, the last)."""

SIDE = 512
"""Largest side of the part of a picture that is used; no more of it is held."""
MIN_SIDE = 64
"""Side of a picture that can be shrunk by 30."""
FLAT = 2.5 / 255
"""Standard deviation from which on a picture shows anything."""


@dataclass(frozen=True)
class CalibrationImages:
    """Parts of high-resolution pictures, uint8 `[h, w, 3]`, at most `SIDE` long."""

    description: str
    seen: tuple[NDArray[np.uint8], ...]
    """To calibrate with."""
    held_out: tuple[NDArray[np.uint8], ...]
    """To measure on."""

    @property
    def digest(self) -> str:
        """SHA-256 of all pixels."""
        digest = hashlib.sha256()
        for picture in (*self.seen, *self.held_out):
            digest.update(f"{picture.shape}".encode())
            digest.update(np.ascontiguousarray(picture).data)
        return digest.hexdigest()


def gather(images: Path | Sequence[Path] | None) -> CalibrationImages:
    """The usable ones of these images, at most `MAX_IMAGES`, evenly spaced by name; None for the
    package's own photographs.

    Raises:
        CalibrationError: too few of them are images that show anything.
    """
    if images is None:
        log.warning(
            "no folder is named, so the photographs of the package calibrate; those like yours "
            "do better"
        )
        images = PHOTOGRAPHS
    paths = images_in(images)
    found = dict(itertools.islice(_usable(_spread(paths)), MAX_IMAGES))
    if len(found) < MIN_IMAGES:
        raise CalibrationError(
            f"{source_name(images)} has {len(found)} usable images among {len(paths)}; at least "
            f"{MIN_IMAGES} are needed, of {MIN_SIDE} pixels a side or more and not flat. Best are "
            f"{ENOUGH_IMAGES} to {MAX_IMAGES} photographs like those that will be upscaled."
        )
    if len(found) < ENOUGH_IMAGES:
        text = "%d pictures are few to tell what INT8 costs; %d are better"
        log.warning(text, len(found), ENOUGH_IMAGES)
    ordered = [found[path] for path in sorted(found)]
    apart = range(HELD_OUT - 1, len(ordered), HELD_OUT) or [len(ordered) - 1]
    return CalibrationImages(
        f"{len(ordered)} pictures of {source_name(images)}",
        tuple(picture for k, picture in enumerate(ordered) if k not in apart),
        tuple(ordered[k] for k in apart),
    )


class Part(Enum):
    """Which part of a picture is taken: the one with most detail, or with as much as is usual."""

    BUSIEST = auto()
    USUAL = auto()


def part(picture: NDArray[np.uint8], size: Size, which: Part) -> NDArray[np.uint8]:
    """One of nine parts of a picture, ranked by how much neighbouring pixels differ. Flat ones are
    not usual: in them every error of a hundredth of a gray level would count."""
    tops, lefts = (
        sorted({(p - s) * step // 2 for step in range(3)})
        for p, s in zip(picture.shape[:2], size, strict=True)
    )
    parts = [
        picture[top : top + size[0], left : left + size[1]]
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
    """Evenly spaced ones first, then those between."""
    step = max(len(paths) / MAX_IMAGES, 1)
    first = [paths[int(k * step)] for k in range(min(len(paths), MAX_IMAGES))]
    taken = set(first)
    return [*first, *(path for path in paths if path not in taken)]


def _usable(paths: list[Path]) -> Iterator[tuple[Path, NDArray[np.uint8]]]:
    for path in paths:
        pixels = to_bytes(read_image(path).rgb)
        height, width, _ = pixels.shape
        if min(height, width) < MIN_SIDE:
            log.warning("%s is only %dx%d pixels; it is left out.", path.name, width, height)
            continue
        kept = part(pixels, (min(height, SIDE), min(width, SIDE)), Part.BUSIEST).copy()
        if _flat(kept):
            log.warning("%s is flat; it is left out.", path.name)
            continue
        yield path, kept
