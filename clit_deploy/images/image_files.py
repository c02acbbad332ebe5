"""Image files: reading to RGB and alpha, writing strip by strip."""

from __future__ import annotations

import logging
import shutil
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from clit_deploy.config import show_bytes
from clit_deploy.errors import ImageError, SizeError
from clit_deploy.images.png import PngWriter
from clit_deploy.system.files import check_file, check_folder, replacing
from clit_deploy.system.phases import phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

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
"""Longest side of each format that can be written."""

BEST_COMPRESSION = 1032
"""Deflate, the compression of PNG, makes nothing smaller than that."""

NO_ALPHA = {".jpg", ".jpeg", ".bmp"}
_TIFF_BITS = 258
_SIXTEEN_BIT_COLOUR = {(16, 2), (16, 6), (16, 4)}


PHOTOGRAPH = Path(__file__).parents[1] / "default" / "grapes.png"
"""A photograph of 128x128 pixels that ships with the package, to measure plans with."""


@dataclass(frozen=True)
class DecodedImage:
    """An image as the models take it: `rgb [h, w, 3]`, and `alpha [h, w, 1]` if it has any.

    Both are float32, 0 to 1.
    """

    rgb: NDArray[np.float32]
    alpha: NDArray[np.float32] | None


def images_in(folder: Path) -> list[Path]:
    """The pictures of a folder, by name.

    Raises:
        MissingFileError: it is no folder.
    """
    check_folder(folder)
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in LIMITS)


def read_image(path: Path) -> DecodedImage:
    """Read an image file of any mode: gray and palette become RGB, alpha is kept apart.

    Raises:
        MissingFileError: no such file.
        ImageError: not an image, cut off, empty, or so large that it may be an attack.
    """
    check_file(path, "image file")
    if path.stat().st_size == 0:
        raise ImageError(f"{path} is empty; copy it again.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.load()
                _warn_about_losses(path, image)
                return _picture(ImageOps.exif_transpose(image))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(
            f"{path} claims more than {Image.MAX_IMAGE_PIXELS:,} pixels and was not decoded, for "
            "it may be an attack on memory; cut or shrink it first."
        ) from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{path} is not an image in a format that can be read.") from error
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # Pillow's plugins raise what they like
        raise ImageError(f"{path} is damaged or cut off: {error}.") from error


def _picture(image: Image.Image) -> DecodedImage:
    if image.mode.startswith("I") or image.mode == "F":
        gray = np.asarray(image, np.float32) / (1 if image.mode == "F" else 65535)
        if gray.size and not (gray.min() >= 0 and gray.max() <= 1):
            raise ImageError(
                "The picture's floats or 32-bit integers go beyond 0..1 (or 0..65535), so their "
                "white is not known; save it with 8 or 16 bits."
            )
        return DecodedImage(np.repeat(gray[..., None], 3, axis=2), None)
    alpha = image.has_transparency_data
    pixels = np.asarray(image.convert("RGBA" if alpha else "RGB"), np.float32) / np.float32(255)
    rgb = np.ascontiguousarray(pixels[..., :3])
    return DecodedImage(rgb, np.ascontiguousarray(pixels[..., 3:]) if alpha else None)


def _warn_about_losses(path: Path, image: Image.Image) -> None:
    with path.open("rb") as file:
        head = file.read(26)
    deep_png = head[:4] == b"\x89PNG" and (head[24], head[25]) in _SIXTEEN_BIT_COLOUR
    bits = getattr(image, "tag_v2", {}).get(_TIFF_BITS, ())
    deep_tiff = isinstance(bits, tuple) and len(bits) > 1 and max(bits) > 8
    if deep_png or deep_tiff:
        log.warning("%s has more than 8 bits a channel; it is read with 8.", path.name)
    if getattr(image, "n_frames", 1) > 1:
        log.warning("%s has several frames; only the first is upscaled.", path.name)


def check_format(path: Path, size: Size, *, alpha: bool) -> None:
    """Refuse a file name whose format, or whose disk, cannot hold the output.

    Raises:
        SizeError: an unknown extension, a side beyond the format's limit, or more pixels than
            the disk has room for at the best compression to be expected.
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


def is_streamed(path: Path) -> bool:
    """Whether a file is written row by row, without holding the whole output."""
    return path.suffix.lower() == ".png"


def to_bytes(strip: NDArray[np.float32]) -> NDArray[np.uint8]:
    """0..1 -> 8 bits, rounded; `strip` is used up."""
    np.clip(strip, 0, 1, out=strip)
    strip *= 255
    strip += 0.5
    return strip.astype(np.uint8)


@contextmanager
def image_writer(
    path: Path, size: Size, channels: int
) -> Iterator[Callable[[NDArray[np.uint8]], None]]:
    """A function that appends rows `[n, W, channels]`; the file appears when all is written.

    PNG goes to disk row by row; other formats are held in memory as 8-bit pixels.
    """
    with replacing(path) as part:
        if is_streamed(path):
            with part.open("wb") as file:
                png = PngWriter(file, size[1], size[0], channels)
                yield png.write
                with phase("write"):
                    png.close()
            return
        pixels = np.empty((*size, channels), np.uint8)
        row = 0

        def append(rows: NDArray[np.uint8]) -> None:
            nonlocal row
            pixels[row : row + len(rows)] = rows
            row += len(rows)

        yield append
        kind = Image.registered_extensions()[path.suffix.lower()]
        options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"quality": 95}}
        with phase("write"), part.open("wb") as file:
            Image.fromarray(pixels).save(file, kind, **options.get(kind, {}))
