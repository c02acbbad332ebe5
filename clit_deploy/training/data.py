"""Photographs, crops of them, and the batches that training asks for."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.errors import ImageError, TrainingError
from clit_deploy.images.image_files import images_in, read_image, source_name
from clit_deploy.images.pixels import to_bytes
from clit_deploy.images.resample import resize_bicubic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from clit_deploy.training.training_config import TrainingPhase

log = logging.getLogger(__name__)

SMALLEST_SIDE = 64
MOST_UNREADABLE = 0.1
"""Part of the files that may be unreadable before something is wrong with the folder."""


@dataclass(frozen=True)
class Photos:
    """Images `[h, w, 3]` uint8, split by photograph."""

    train: list[NDArray[np.uint8]]
    validation: list[NDArray[np.uint8]]


@dataclass(frozen=True)
class Batch:
    """Low-resolution crops, places in them, and the colours there."""

    lr: NDArray[np.float32]
    """`[b, 3, h, h]`, 0 to 1."""
    coords: NDArray[np.float64]
    """`[b, q, 2]`, row and column in -1..1."""
    rgb: NDArray[np.float32]
    """`[b, q, 3]`, 0 to 1."""
    size: int
    """Side of the high-resolution crops."""
    factors: tuple[float, ...]
    """The scale of every stage that is used."""


def read_photos(images: Path | Sequence[Path], validation: float) -> Photos:
    """Read every image of a folder, or these images.

    Files that begin with the same characters up to the first `_` are crops of one photograph and
    stay on one side of the split.

    Raises:
        MissingFileError: a path leads nowhere.
        TrainingError: too few images, or too many that cannot be read.
    """
    paths = images_in(images)
    groups: dict[str, list[NDArray[np.uint8]]] = {}
    bad = []
    for path in paths:
        try:
            rgb = read_image(path).rgb
        except ImageError as error:
            bad.append(f"{path.name} ({error})")
            continue
        if min(rgb.shape[:2]) < SMALLEST_SIDE:
            bad.append(f"{path.name} (smaller than {SMALLEST_SIDE} pixels)")
            continue
        groups.setdefault(path.stem.split("_")[0], []).append(to_bytes(rgb))
    if bad:
        log.warning("%d of %d pictures are left out: %s", len(bad), len(paths), "; ".join(bad[:3]))
    if len(bad) > MOST_UNREADABLE * len(paths):
        raise TrainingError(
            f"{len(bad)} of {len(paths)} images of {source_name(images)} cannot be used, the "
            f"first: {bad[0]}."
        )
    if len(groups) < 2:
        raise TrainingError(
            f"{source_name(images)} holds {len(groups)} photographs; at least two are needed, one "
            "to train on and one to validate with."
        )
    return _split(list(groups.values()), validation)


def _split(groups: list[list[NDArray[np.uint8]]], validation: float) -> Photos:
    count = min(max(round(len(groups) * validation), 1), len(groups) - 1)
    step = len(groups) / count
    held = {int(step * (k + 0.5)) for k in range(count)}  # spread over the names
    train = [p for k, group in enumerate(groups) if k not in held for p in group]
    return Photos(train, [p for k in sorted(held) for p in groups[k]])


def draw(
    photos: list[NDArray[np.uint8]],
    phase: TrainingPhase,
    factors: tuple[float, ...],
    rng: np.random.Generator,
) -> Batch:
    """Random crops and places, all with the same factors."""
    room = min(min(photo.shape[:2]) for photo in photos)
    scale = float(np.prod(factors))
    low = min(phase.crop, int(room / scale))
    high = round(low * scale)
    chosen = rng.integers(len(photos), size=phase.batch)
    crops = [_crop(photos[k], high, rng) for k in chosen]
    small = np.stack([resize_bicubic(crop, (low, low)) for crop in crops])
    at = rng.integers(high, size=(phase.batch, phase.queries, 2))
    rgb = np.stack([crop[a[:, 0], a[:, 1]] for crop, a in zip(crops, at, strict=True)])
    return Batch(
        lr=np.divide(small.transpose(0, 3, 1, 2), 255, dtype=np.float32),
        coords=(2 * at + 1) / high - 1,
        rgb=np.divide(rgb, 255, dtype=np.float32),
        size=high,
        factors=factors,
    )


def _crop(photo: NDArray[np.uint8], side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A random square, flipped and transposed at random."""
    top, left = (int(rng.integers(length - side + 1)) for length in photo.shape[:2])
    crop = photo[top : top + side, left : left + side]
    down, across, swap = rng.integers(2, size=3)
    crop = crop[:: -1 if down else 1, :: -1 if across else 1]
    return crop.transpose(1, 0, 2) if swap else crop
