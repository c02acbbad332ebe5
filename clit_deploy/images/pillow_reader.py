"""Reading image files with Pillow: header facts first, then the pixels band by band."""

from __future__ import annotations

import logging
import struct
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

from clit_deploy.errors import ClitDeployError, ImageError, MemoryBudgetError
from clit_deploy.grid.geometry import Span
from clit_deploy.images.decoded_image import DecodedImage, ImageHeader
from clit_deploy.images.jpeg_quality import jpeg_quality
from clit_deploy.images.pixels import ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import Size

log = logging.getLogger(__name__)

ORIENTATION = 0x0112
"""EXIF tag: how the stored image has to be turned to be shown."""
_WIDTH, _HEIGHT, _BITS = 256, 257, 258
"""TIFF tags."""

DEFLATED = 2800
"""No file of PNG's or of TIFF's dictionary coders holds more than that many times its own size:
Deflate reaches 1032, LZW with codes of 12 bits 2730."""
_DICTIONARY_CODED = {"raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate"}

_NARROW = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
"""Bytes a pixel in Pillow's memory; four in all other modes."""
_DECODER = {"PNG": 0, "BMP": 0, "PPM": 0, "GIF": 4, "WEBP": 14, "AVIF": 12, "JPEG2000": 20}
"""Bytes a pixel that a decoder holds beside Pillow's image; from files of 12 megapixels."""
_OTHER_DECODER = 20
_CODEC = 6_000_000
"""Bytes of a codec's code and tables, and of a band."""

_SIXTEEN_BIT_COLOR = {(16, 2), (16, 6), (16, 4)}
"""Bit depth and color type of PNG files that Pillow reads with 8 bits."""

_TURNS: dict[int, Callable[[NDArray[np.generic]], NDArray[np.generic]]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}
"""Views of an array `[h, w, c]` as it is shown, by its orientation; others stay as they are."""


class PillowFile:
    """An image file that Pillow has opened.

    Raises:
        ImageError: not an image, more pixels than Pillow allows, or more than the file can hold.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _readable(path):
            self._image = Image.open(path)
        try:
            with _readable(path):
                self._orientation = _orientation(path, self._image)
                self.header = self._read_header()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file, and free what was decoded."""
        self._image.close()

    def decode(self) -> DecodedImage:
        """The pixels in the file's own type.

        Raises:
            ImageError: the file is damaged or cut off, or the value of its white is unknown.
            MemoryBudgetError: the memory for it cannot be had.
        """
        image, alpha = self._image, self.header.alpha
        with _readable(self._path):
            image.load()
            _warn_about_losses(self._path, image)
            pixels = _pixels(image, alpha=alpha)
        if image.format != "TIFF" and self._orientation in _TURNS:  # Pillow turns a TIFF itself
            pixels = _TURNS[self._orientation](pixels)
        if pixels.shape[:2] != self.header.size:
            raise ImageError(f"{self._path} is damaged: its header names another size.")
        if alpha:
            return DecodedImage(pixels[..., :3], pixels[..., 3:])
        return DecodedImage(np.broadcast_to(pixels, (*pixels.shape[:2], 3)), None)

    def _read_header(self) -> ImageHeader:
        image = self._image
        size = _stored_size(image)
        count, file_bytes = size[0] * size[1], self._path.stat().st_size
        coded = image.format == "PNG" or image.info.get("compression") in _DICTIONARY_CODED
        if coded and count > 8 * DEFLATED * file_bytes:  # with one bit a pixel
            raise ImageError(
                f"{self._path} claims {size[1]}x{size[0]} pixels, more than its {file_bytes:,} "
                "bytes can hold; it was not decoded."
            )
        if self._orientation >= 5:
            size = size[1], size[0]
        alpha = image.has_transparency_data and _type_of(image.mode) == np.uint8
        decoded = count * _channels(image.mode, alpha=alpha) * _type_of(image.mode).itemsize
        stored = count * _NARROW.get(image.mode, 4)
        # The decoder is done when the pixels are copied.
        beside = max(decoded, count * _decoder_bytes(image, self._orientation))
        quality = jpeg_quality(getattr(image, "quantization", {}))
        return ImageHeader(size, alpha, decoded, stored + beside + file_bytes + _CODEC, quality)


def _stored_size(image: Image.Image) -> Size:
    """Height and width as they are stored. Pillow's versions differ in what they say of a TIFF."""
    tags = getattr(image, "tag_v2", None)
    if tags and _WIDTH in tags and _HEIGHT in tags:
        return int(tags[_HEIGHT]), int(tags[_WIDTH])
    return image.height, image.width


def _decoder_bytes(image: Image.Image, orientation: int) -> int:
    if image.format in ("JPEG", "MPO"):
        return 8 if image.info.get("progressive") else 0
    if image.format == "TIFF":  # its only strip, and a turned copy
        bits: tuple[int, ...] = image.tag_v2.get(_BITS, (1,))  # type: ignore[attr-defined]
        return sum(bits) // 8 + 1 + (4 if orientation > 1 else 0)
    return _DECODER.get(image.format or "", _OTHER_DECODER)


def _channels(mode: str, *, alpha: bool) -> int:
    """Channels of a mode's decoded pixels."""
    if alpha:
        return 4
    return 1 if mode in ("1", "L", "F") or mode.startswith("I") else 3


def _type_of(mode: str) -> np.dtype[np.generic]:
    """The type of a mode's decoded pixels."""
    if mode == "F":
        return np.dtype(np.float32)
    return np.dtype(np.uint16 if mode.startswith("I") else np.uint8)


def _pixels(image: Image.Image, *, alpha: bool) -> NDArray[np.generic]:
    """The pixels `[h, w, 1]` of a gray image, `[h, w, 3]` or `[h, w, 4]`, copied band by band."""
    dtype, channels = _type_of(image.mode), _channels(image.mode, alpha=alpha)
    result = np.empty((image.height, image.width, channels), dtype)
    for rows in Span(0, image.height).split(ROWS):
        band = image.crop((0, rows.start, image.width, rows.stop))
        if dtype == np.uint8:
            band = band.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])
        values = np.asarray(band)
        if not _has_known_white(values):
            raise ImageError(
                "The image's floats or 32-bit integers go beyond 0..1 (or 0..65535), so their "
                "white is not known; save it with 8 or 16 bits."
            )
        result[rows.start : rows.stop] = values.reshape(len(rows), image.width, channels)
    return result


def _has_known_white(values: NDArray[np.generic]) -> bool:
    if values.dtype in (np.uint8, np.uint16):
        return True
    most = 1 if values.dtype == np.float32 else 65535
    return bool(values.min() >= 0 and values.max() <= most)


def _orientation(path: Path, image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8, without decoding anything."""
    if image.format == "PNG" and "exif" not in image.info and (late := _exif_of_png(path)):
        exif = Image.Exif()
        exif.load(late)
    else:
        exif = Image.Image.getexif(image)  # a PngImageFile's own method decodes the file
    found = exif.get(ORIENTATION)
    return found if found in _TURNS else 1


def _exif_of_png(path: Path) -> bytes | None:
    """The eXIf chunk of a PNG, which may come after the pixels."""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == b"eXIf":
                return file.read(length)
            file.seek(length + 4, 1)
    return None


def _warn_about_losses(path: Path, image: Image.Image) -> None:
    with path.open("rb") as file:
        head = file.read(26)
    deep_png = head[:4] == b"\x89PNG" and (head[24], head[25]) in _SIXTEEN_BIT_COLOR
    bits = getattr(image, "tag_v2", {}).get(_BITS, ())
    deep_tiff = isinstance(bits, tuple) and len(bits) > 1 and max(bits) > 8
    if deep_png or deep_tiff:
        log.warning("%s has more than 8 bits a channel; it is read with 8.", path.name)
    if getattr(image, "n_frames", 1) > 1:
        log.warning("%s has several frames; only the first is upscaled.", path.name)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn whatever Pillow raises into this package's errors."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(
            f"{path} claims more than {Image.MAX_IMAGE_PIXELS:,} pixels and was not decoded, for "
            "it may be an attack on memory; cut or shrink it first."
        ) from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{path} is not an image in a format that can be read.") from error
    except ClitDeployError:
        raise
    except MemoryError as error:
        raise MemoryBudgetError(
            f"There is not enough memory to read {path}; free some, or use a smaller image."
        ) from error
    except Exception as error:  # Pillow's plugins raise what they like
        reason = "".join(c if c.isprintable() else " " for c in str(error))
        raise ImageError(f"{path} is damaged or cut off: {reason:.200}.") from error
