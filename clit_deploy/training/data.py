"""The photographs of a folder, split by photograph into those to train on and those to look at."""

from __future__ import annotations

import functools
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.errors import ImageError, TrainingError
from clit_deploy.images.image_files import read_image
from clit_deploy.images.image_folders import images_in, source_name
from clit_deploy.images.pixels import to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

log = logging.getLogger(__name__)

SMALLEST_SIDE = 64
MOST_UNREADABLE = 0.1
"""Part of the files that may be unreadable before something is wrong with the folder."""
READERS = 4


@dataclass(frozen=True)
class Photos:
    """Images `[3, h, w]` uint8, split by photograph."""

    train: list[NDArray[np.uint8]]
    validation: list[NDArray[np.uint8]]


def read_photos(
    images: Path | Sequence[Path],
    validation: float,
    crop: int = SMALLEST_SIDE,
    read: Callable[[Path], NDArray[np.uint8]] | None = None,
) -> Photos:
    """Read every image of a folder, or these images.

    Files that begin with the same characters up to the first `_` are crops of one photograph and
    stay on one side of the split.

    Args:
        images: a folder, an image, or several of them.
        validation: part of the photographs that only measures.
        crop: side of the crops that training takes, in pixels.
        read: gives the pixels `[h, w, 3]` of a file or raises `ImageError`; by default as `run`
            reads images.

    Raises:
        MissingFileError: a path leads nowhere.
        TrainingError: too few images, too many that cannot be read, or too many that are smaller
            than a crop.
    """
    paths = images_in(images)
    least = max(SMALLEST_SIDE, crop)
    groups, bad = _by_photograph(paths, functools.partial(_attempt, read or _as_run_does), least)
    if bad:
        log.warning("%d of %d images are left out: %s", len(bad), len(paths), "; ".join(bad[:3]))
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


def _by_photograph(
    paths: Sequence[Path], attempt: Callable[[Path], NDArray[np.uint8] | str], least: int
) -> tuple[dict[str, list[NDArray[np.uint8]]], list[str]]:
    """The crops of each photograph, and the files that cannot be used, with the reason."""
    groups: dict[str, list[NDArray[np.uint8]]] = {}
    bad: list[str] = []
    with ThreadPoolExecutor(READERS) as readers:
        for path, found in zip(paths, readers.map(attempt, paths), strict=True):
            if isinstance(found, str):
                bad.append(f"{path.name} ({found})")
            elif min(found.shape[1:]) < least:
                height, width = found.shape[1:]
                bad.append(
                    f"{path.name} ({width}x{height} pixels, smaller than a crop of {least}x{least})"
                )
            else:
                groups.setdefault(path.stem.split("_")[0], []).append(found)
    return groups, bad


def _as_run_does(path: Path) -> NDArray[np.uint8]:
    return to_bytes(read_image(path).rgb)


def _attempt(read: Callable[[Path], NDArray[np.uint8]], path: Path) -> NDArray[np.uint8] | str:
    """The image `[3, h, w]`, or the reason why it cannot be read."""
    try:
        return np.ascontiguousarray(read(path).transpose(2, 0, 1))
    except ImageError as error:
        return str(error).rstrip(".")


def _split(groups: list[list[NDArray[np.uint8]]], validation: float) -> Photos:
    count = min(max(round(len(groups) * validation), 1), len(groups) - 1)
    step = len(groups) / count
    held = {int(step * (k + 0.5)) for k in range(count)}  # spread over the names
    train = [p for k, group in enumerate(groups) if k not in held for p in group]
    return Photos(train, [p for k in sorted(held) for p in groups[k]])
