"""Reading formats that the wheels of libvips do not decode: BMP, JPEG 2000, HEIC and others."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from clit_deploy.errors import ClitDeployError, ImageError, MemoryBudgetError
from clit_deploy.grid.geometry import Span
from clit_deploy.images import exif
from clit_deploy.images.decoded_image import DecodedImage, ImageHeader, decoded_image
from clit_deploy.images.metadata import Metadata
from clit_deploy.images.orientation import is_sideways, turned, turned_size
from clit_deploy.images.pixels import ROWS, check_white
from clit_deploy.images.signatures import missing_heic
from clit_deploy.system.interrupts import check

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

PLUGINS = {
    "BMP": ["BMP", "DIB"],
    "PPM": ["PPM"],
    "JPEG 2000": ["JPEG2000"],
    "HEIC": ["HEIF"],
    "ICO": ["ICO"],
    "TGA": ["TGA"],
    "TIFF": ["TIFF"],
}
"""Pillow's names of the formats that it may read, by the kind of the file."""

_HELD = 24
"""Bytes a pixel: Pillow's image, and what its decoders hold beside it."""
_CODEC = 24_000_000
_MODES = {
    "LAB": "RGB",
    "1": "L",
    "P": "RGB",
    "CMYK": "RGB",
    "YCbCr": "RGB",
    "LA": "RGBA",
    "PA": "RGBA",
}
"""What modes are converted to; the others stay."""
_KEPT = ("L", "RGB", "RGBA", "F", "I")


class PillowFile:
    """An image file that Pillow has opened.

    Raises:
        ImageError: not an image of this kind.
        MissingDependencyError: pillow-heif is needed and not installed.
    """

    def __init__(self, path: Path, kind: str) -> None:
        self._path, self._kind = path, kind
        if kind == "HEIC":
            _register_heic(path)
        with _readable(path):
            self._image = Image.open(path, formats=PLUGINS[kind])
            self._exif = exif.bare(self._image.info.get("exif"))
            # Decoders of files with boxes turn their images themselves.
            self._orientation = 1 if kind == "HEIC" else exif.orientation(self._exif)
            self.header = self._read_header()

    def close(self) -> None:
        """Close the file, and free what was decoded."""
        self._image.close()

    def decode(self) -> DecodedImage:
        """The pixels in the file's own type.

        Raises:
            ImageError: the file is damaged or cut off, or the value of its white is unknown.
            MemoryBudgetError: the memory for it cannot be had.
        """
        with _readable(self._path):
            self._image.load()
            pixels = turned(self._pixels(), self._orientation)
        return decoded_image(pixels, alpha=self.header.alpha, metadata=self._metadata())

    def rolling_header(self) -> None:
        """Pillow decodes whole images."""

    def roll(self) -> DecodedImage:
        """The same as `decode`."""
        return self.decode()

    def _mode(self) -> str:
        """The mode that the pixels are taken in."""
        mode = self._image.mode
        if mode.startswith("I;16"):
            return "I"
        found = _MODES.get(mode, mode)
        if found not in _KEPT:
            raise ImageError(f"{self._path} has the mode {mode}; save it as gray or RGB.")
        return "RGBA" if found == "RGB" and self._image.has_transparency_data else found

    def _type(self) -> np.dtype[Any]:
        return np.dtype({"F": np.float32, "I": np.uint16}.get(self._mode(), np.uint8))

    def _pixels(self) -> NDArray[np.generic]:
        """The pixels `[h, w, channels]`, copied band by band."""
        image, mode = self._image, self._mode()
        result = np.empty((image.height, image.width, len(self._channels())), self._type())
        for rows in Span(0, image.height).split(ROWS):
            check()
            band = image.crop((0, rows.start, image.width, rows.stop))
            if band.mode == "LAB":
                band = _from_lab(band)
            values = np.asarray(band if band.mode.startswith("I;16") else band.convert(mode))
            if values.dtype not in (np.uint8, np.uint16):
                check_white(values, 1 if mode == "F" else 65535)
            result[rows.start : rows.stop] = values.reshape(len(rows), image.width, -1)
        return result

    def _channels(self) -> tuple[str, ...]:
        return Image.Image.getbands(Image.new(self._mode(), (1, 1)))

    def _read_header(self) -> ImageHeader:
        image, dtype, channels = self._image, self._type(), len(self._channels())
        count = image.width * image.height
        decoded = count * channels * dtype.itemsize
        return ImageHeader(
            size=turned_size((image.height, image.width), self._orientation),
            alpha=channels == 4,
            decoded_bytes=decoded,
            decoding_bytes=decoded + count * _HELD + self._path.stat().st_size + _CODEC,
            format=self._kind,
            gray=channels == 1,
            depth={"u1": "8", "u2": "16", "f4": "float"}[dtype.str[1:]],
        )

    def _metadata(self) -> Metadata:
        info = self._image.info
        dpi = info.get("dpi")
        if dpi and is_sideways(self._orientation):
            dpi = dpi[::-1]
        profile = info.get("icc_profile")
        space = b"GRAY" if self.header.gray else b"RGB "
        return Metadata(
            profile=profile if profile and profile[16:20] == space else None,
            exif=self._exif,
            xmp=info.get("xmp"),
            dpi=(float(dpi[0]), float(dpi[1])) if dpi else None,
        )


def _from_lab(image: Image.Image) -> Image.Image:
    """CIE Lab as sRGB."""
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    made = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    assert made is not None  # noqa: S101  (only a conversion in place returns nothing)
    return made


def _register_heic(path: Path) -> None:
    """Let Pillow decode HEIC.

    Raises:
        ImageError: pillow-heif is not installed.
    """
    try:
        import pillow_heif
    except ImportError as error:
        raise ImageError(missing_heic(str(path))) from error
    pillow_heif.register_heif_opener()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn whatever Pillow raises into this package's errors."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the size is checked against memory
            yield
    except ClitDeployError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{path} has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels, too many for the "
            "library that reads its format; save it as TIFF or PNG."
        ) from error
    except MemoryError as error:
        raise MemoryBudgetError(
            f"There is not enough memory to read {path}; free some, or use a smaller image."
        ) from error
    except Exception as error:  # Pillow's plugins raise what they like
        reason = "".join(c if c.isprintable() else " " for c in str(error))
        raise ImageError(f"{path} is damaged or cut off: {reason:.200}.") from error
