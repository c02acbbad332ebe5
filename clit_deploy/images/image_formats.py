"""The formats that images are written in, and what each of them cannot hold."""

from __future__ import annotations

import logging
import shutil
from typing import TYPE_CHECKING

from clit_deploy.config import show_bytes
from clit_deploy.errors import SizeError

if TYPE_CHECKING:
    from pathlib import Path

    from clit_deploy.grid.cascade import Size

log = logging.getLogger(__name__)

LIMITS = {
    ".png": 1_000_000,  # libpng, and with it nearly every reader, refuses longer ones
    ".jpg": 65_500,
    ".jpeg": 65_500,
    ".webp": 16_383,
    ".bmp": 32_767,
    ".tif": 1_000_000,
    ".tiff": 1_000_000,
}
"""Longest side in pixels of each format that can be written."""

BEST_COMPRESSION = 1032
"""Deflate, the compression of PNG, makes nothing smaller than that."""

NO_ALPHA = {".jpg", ".jpeg", ".bmp"}


def check_format(path: Path, size: Size, *, alpha: bool) -> None:
    """Refuse a file name whose format, or whose disk, cannot hold the output.

    Args:
        path: the output file.
        size: its height and width in pixels.
        alpha: whether the output has transparency; a format without it drops it with a warning.

    Raises:
        SizeError: an unknown extension, a side beyond the format's limit, or more pixels than
            the disk can hold at the best compression to be expected.
    """
    kind = path.suffix.lower()
    if kind not in LIMITS:
        raise SizeError(
            f"{path.name}: the format {kind or 'without extension'!r} cannot be written; "
            f"use one of {', '.join(LIMITS)}."
        )
    if max(size) > LIMITS[kind]:
        raise SizeError(
            f"{kind} files hold at most {LIMITS[kind]:,} pixels a side, but the output has "
            f"{size[1]}x{size[0]}; write a .png."
        )
    free = shutil.disk_usage(path.parent).free
    if size[0] * size[1] * 3 > BEST_COMPRESSION * free:
        raise SizeError(
            f"An output of {size[1]}x{size[0]} pixels does not fit on the disk of {path.parent}, "
            f"which has {show_bytes(free)} free."
        )
    if alpha and kind in NO_ALPHA:
        log.warning("%s files have no transparency; the alpha channel is dropped.", kind)


def channels_of(path: Path, *, alpha: bool) -> int:
    """Channels that are written to a file: 4 with transparency where its format has any, else 3."""
    return 4 if alpha and path.suffix.lower() not in NO_ALPHA else 3


def is_streamed(path: Path) -> bool:
    """Whether a file is written row by row, without holding the whole output."""
    return path.suffix.lower() == ".png"


def held_per_pixel(path: Path, channels: int) -> int:
    """Bytes that writing a file holds until its end, per pixel of the output."""
    # Pillow's encoders hold the pixels a second time, in four bytes each, and WebP once more.
    if is_streamed(path):
        return 0
    return channels + 4 + (8 if path.suffix.lower() == ".webp" else 0)
