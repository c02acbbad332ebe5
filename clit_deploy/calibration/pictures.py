"""Pictures to calibrate with: a folder's, or made ones where nothing else is at hand."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.errors import CalibrationError, MissingFileError
from clit_deploy.images import pictures_in, read_image, to_bytes
from clit_deploy.verify import discs

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

log = logging.getLogger(__name__)

LEAST = 4
"""Pictures: three to calibrate with, one to measure on."""
MOST = 40
HELD_OUT = 5
"""Every fifth picture is not calibrated with but measured on (with few of them, the last)."""

SMALLEST = 64
"""Side of a picture that can be shrunk by 30."""
FLAT = 2.5 / 255
"""Standard deviation from which on a picture shows anything."""

MADE = 24
"""Pictures of the default set."""


@dataclass(frozen=True)
class Pictures:
    """High-resolution pictures, uint8 `[h, w, 3]`."""

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


def gather(folder: Path | None) -> Pictures:
    """The pictures of a folder, at most `MOST` evenly spaced by name; None for made ones.

    Raises:
        MissingFileError: there is no such folder.
        CalibrationError: it holds too few pictures that show anything.
    """
    if folder is None:
        log.warning(
            "no folder is named, so made pictures calibrate; photographs like yours do better"
        )
        made = [to_bytes(discs(256, 256, seed)) for seed in range(MADE)]
        return _split(f"{MADE} made pictures (overlapping discs)", made)
    if not folder.is_dir():
        raise MissingFileError(f"There is no folder {folder}; name one with pictures.")
    paths = pictures_in(folder)
    step = max(len(paths) / MOST, 1)
    paths = [paths[int(k * step)] for k in range(min(len(paths), MOST))]
    usable = [pixels for path in paths if (pixels := _usable(path)) is not None]
    if len(usable) < LEAST:
        raise CalibrationError(
            f"{folder} has {len(usable)} usable pictures among {len(paths)}; at least {LEAST} are "
            f"needed, of {SMALLEST} pixels a side or more and not flat. 20 to {MOST} photographs "
            "like those that will be enlarged are best."
        )
    return _split(f"{len(usable)} pictures of {folder.name}", usable)


def _usable(path: Path) -> NDArray[np.uint8] | None:
    pixels = to_bytes(read_image(path).rgb)
    height, width, _ = pixels.shape
    if min(height, width) < SMALLEST:
        log.warning("%s is only %dx%d pixels; it is left out.", path.name, width, height)
    elif float(np.std(pixels / 255.0)) < FLAT:
        log.warning("%s is flat; it is left out.", path.name)
    else:
        return pixels
    return None


def _split(description: str, pictures: list[NDArray[np.uint8]]) -> Pictures:
    apart = range(HELD_OUT - 1, len(pictures), HELD_OUT) or [len(pictures) - 1]
    return Pictures(
        description,
        tuple(picture for k, picture in enumerate(pictures) if k not in apart),
        tuple(pictures[k] for k in apart),
    )
