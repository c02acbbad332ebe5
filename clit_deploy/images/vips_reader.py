"""Reading image files with libvips: header facts first, then the pixels band by band."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from clit_deploy.errors import ImageError
from clit_deploy.grid.geometry import Span
from clit_deploy.images import png_chunks, tiff_tags
from clit_deploy.images.color_profile import fitting_profile, to_rgb_or_gray
from clit_deploy.images.decoded_image import DecodedImage, ImageHeader, decoded_image
from clit_deploy.images.exif import bare, orientation
from clit_deploy.images.jpeg_quality import quality_of
from clit_deploy.images.metadata import PHOTOSHOP, Metadata
from clit_deploy.images.orientation import is_sideways, turned, turned_size
from clit_deploy.images.pixels import ROWS, check_white
from clit_deploy.images.rolling_rows import REACH, RollingRows
from clit_deploy.images.tiff_exif import exif_of_tiff
from clit_deploy.images.transparency import FILLING_BYTES
from clit_deploy.images.vips_failures import readable
from clit_deploy.images.vips_library import LOADERS, vips
from clit_deploy.images.webp_chunks import is_lossless
from clit_deploy.system.interrupts import check

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

log = logging.getLogger(__name__)

DEFLATED = 2800
"""No file of PNG's, GIF's or TIFF's dictionary coders holds more than that many times its own size:
Deflate reaches 1032, LZW with codes of 12 bits 2730."""
_DICTIONARY_CODED = {1, 5, 8, 32773, 32946}
"""Compressions of TIFF."""

_TYPES = {"uchar": np.uint8, "ushort": np.uint16, "float": np.float32, "double": np.float64}
_DEPTHS = {"u1": "8", "u2": "16", "f4": "float"}

_BESIDE = {"WebP": 8, "AVIF": 14, "GIF": 8}
"""Bytes a pixel that a decoder holds beside the pixels; from files of 12 megapixels."""
_PROGRESSIVE = 7
_CODEC = 24_000_000
"""Bytes of a codec's code and tables."""
_CACHED_ROWS = 640
"""Rows that libvips holds between its steps."""

_INCH = 25.4
"""In millimeters."""


class VipsFile:
    """An image file that libvips has opened.

    Args:
        path: the file.
        kind: which loader reads it, a key of `vips_library.LOADERS`.
        srgb: convert colors to sRGB by the file's profile.

    Raises:
        ImageError: not an image, or more pixels than the file can hold.
    """

    def __init__(self, path: Path, kind: str, *, srgb: bool = False) -> None:
        self._path, self._kind = path, kind
        self._chunks = png_chunks.read_chunks(path) if kind == "PNG" else []
        self._tags = tiff_tags.TiffTags.of(path) if kind == "TIFF" else None
        if self._tags is not None and self._tags.is_camera_raw():
            raise ImageError(
                f"{path} is a camera's raw file, of which only a preview could be read. Develop it "
                "to a TIFF, PNG or JPEG first."
            )
        with readable(path, self._tags):
            load = getattr(vips().Image, LOADERS[kind])
            stop_at = "error" if kind == "TIFF" else "truncated"
            self._stored = load(str(path), access="sequential", fail_on=stop_at)
            self._image, self._converted = to_rgb_or_gray(self._stored, srgb=srgb)
            self._exif = self._field("exif-data") or png_chunks.content(self._chunks, b"eXIf")
            self._orientation = self._stated_orientation()
            self.header = self._read_header()

    def close(self) -> None:
        """Close the file, and free what was decoded."""
        self._image = self._stored = None

    def decode(self) -> DecodedImage:
        """The pixels in the file's own type.

        Raises:
            ImageError: the file is damaged or cut off, or the value of its white is unknown.
            MemoryBudgetError: the memory for it cannot be had.
        """
        self._warn_about_losses()
        with readable(self._path, self._tags):
            pixels = turned(self._pixels(), self._orientation)
        return decoded_image(pixels, alpha=self.header.alpha, metadata=self._metadata())

    def rolling_header(self) -> ImageHeader | None:
        """The header if only the rows in use are held; None if the image is needed as a whole."""
        header, height = self.header, self.header.size[0]
        if header.alpha or self._orientation != 1:
            return None
        rows = min(REACH + ROWS, height)
        held = header.decoded_bytes // height * rows
        beside = header.decoding_bytes - header.decoded_bytes
        return dataclasses.replace(
            header, decoded_bytes=held + beside, decoding_bytes=held + beside, rolls=True
        )

    def roll(self) -> DecodedImage:
        """The image with the rows in use only; it is decoded while it is rendered, from top to
        bottom, once. So what is wrong with the file may be found late.

        Raises:
            ImageError: while rows are taken: see `decode`.
        """
        self._warn_about_losses()
        rows = RollingRows(
            self._bands, self.header.size, 1 if self.header.gray else 3, self._dtype()
        )
        # A renderer takes rows, and nothing else that arrays have.
        rgb = cast("NDArray[np.generic]", rows)
        return DecodedImage(rgb, None, self.header.gray, self._metadata())

    def _pixels(self) -> NDArray[np.generic]:
        """The pixels `[h, w, channels]` as they are stored."""
        image = self._image
        result = np.empty((image.height, image.width, image.bands), self._dtype())
        row = 0
        for band in self._bands():
            result[row : row + len(band)] = band
            row += len(band)
        return result

    def _bands(self, first: int = 0) -> Iterator[NDArray[np.generic]]:
        """The pixels from a row to the last one, `ROWS` rows at a time."""
        image, wanted = self._image, self._dtype()
        if image.format not in _TYPES:  # signed, or of 32 bits
            image = image.cast("double")
        kind = np.dtype(_TYPES[image.format])
        region = vips().Region.new(image)  # one thread, so that rows are read in order
        for rows in Span(first, image.height).split(ROWS):
            check()
            with readable(self._path, self._tags):
                fetched = region.fetch(0, rows.start, image.width, len(rows))
            values = np.frombuffer(fetched, kind)
            if kind not in (np.uint8, np.uint16):
                check_white(values, 1 if wanted == np.float32 else 65535)
            yield values.reshape(len(rows), image.width, image.bands).astype(wanted, copy=False)

    def _dtype(self) -> np.dtype[Any]:
        """The type of the decoded pixels."""
        found = self._image.format
        if found in ("float", "double"):
            return np.dtype(np.float32)
        return np.dtype(np.uint8 if found == "uchar" else np.uint16)

    def _read_header(self) -> ImageHeader:
        image, dtype = self._image, self._dtype()
        alpha = bool(image.hasalpha())
        channels = image.bands - alpha
        if channels not in (1, 3):
            raise ImageError(
                f"{self._path} has {image.bands} channels; gray, RGB and CMYK images can be read, "
                "with transparency or without."
            )
        if image.format in ("complex", "dpcomplex"):
            raise ImageError(f"{self._path} holds complex numbers; save it with 8 or 16 bits.")
        count, file_bytes = image.width * image.height, self._path.stat().st_size
        if self._is_coded() and count > 8 * DEFLATED * file_bytes:  # with one bit a pixel
            raise ImageError(
                f"{self._path} claims {image.width}x{image.height} pixels, more than its "
                f"{file_bytes:,} bytes can hold; it was not decoded."
            )
        decoded = count * image.bands * dtype.itemsize
        filling = count * FILLING_BYTES * alpha
        cached = _CACHED_ROWS * image.width * image.bands * 4
        beside = max(count * self._held_by_decoder(), filling) + cached
        return ImageHeader(
            size=turned_size((image.height, image.width), self._orientation),
            alpha=alpha,
            decoded_bytes=decoded,
            decoding_bytes=decoded + beside + _CODEC,
            jpeg_quality=quality_of(self._path) if self._kind == "JPEG" else None,
            format=self._kind,
            gray=channels == 1,
            depth=_DEPTHS[dtype.str[1:]],
            lossless=self._kind == "WebP" and is_lossless(self._path),
        )

    def _is_coded(self) -> bool:
        """Whether the size of the file bounds the number of its pixels."""
        if self._tags is not None:
            return self._tags.number(tiff_tags.COMPRESSION, 1) in _DICTIONARY_CODED
        return self._kind in ("PNG", "GIF")

    def _held_by_decoder(self) -> int:
        """Bytes a pixel."""
        pixel = self._stored.bands * np.dtype(_TYPES.get(self._stored.format, np.int64)).itemsize
        if self._tags is not None:
            rows = self._tags.number(tiff_tags.STRIP_ROWS, 1 << 31)
            large = rows > _CACHED_ROWS and self._tags.number(tiff_tags.TILE_WIDTH, 0) == 0
            return pixel if large else 0
        if self._field("interlaced"):
            return int(pixel)
        if self._field("jpeg-multiscan"):
            return _PROGRESSIVE
        return _BESIDE.get(self._kind, 0)

    def _field(self, name: str) -> Any:
        """What libvips says of the file under a name; None if it says nothing."""
        return self._stored.get(name) if self._stored.get_typeof(name) else None

    def _stated_orientation(self) -> int:
        if self._kind == "AVIF":  # libvips turns these itself
            return 1
        if self._tags is not None:
            return int(self._field("orientation") or 1)
        return orientation(bare(self._exif))

    def _metadata(self) -> Metadata:
        found = Metadata(
            profile=fitting_profile(self._stored),
            exif=exif_of_tiff(self._path) if self._kind == "TIFF" else bare(self._exif),
            xmp=self._field("xmp-data"),
            iptc=self._iptc(),
            dpi=self._dpi(),
            chunks=tuple(png_chunks.kept_chunks(self._chunks)),
        )
        return found.without_colors() if self._converted else found

    def _iptc(self) -> bytes | None:
        if self._kind == "TIFF":
            found = self._field("photoshop-data")
            return None if found is None else PHOTOSHOP + found
        iptc: bytes | None = self._field("iptc-data")
        return iptc

    def _dpi(self) -> tuple[float, float] | None:
        """Pixels an inch, if the file states them."""
        found = png_chunks.resolution(self._chunks)
        if self._field("resolution-unit"):
            found = self._stored.xres * _INCH, self._stored.yres * _INCH
        return found[::-1] if found and is_sideways(self._orientation) else found

    def _warn_about_losses(self) -> None:
        if (self._field("n-pages") or 1) > 1:
            log.warning("%s has several frames; only the first is upscaled.", self._path.name)
