"""Writing JPEG, WebP, TIFF, AVIF and GIF with libvips, from rows as they come."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

from clit_deploy.errors import MemoryBudgetError, OutputError
from clit_deploy.images.exif import marked
from clit_deploy.images.metadata import PHOTOSHOP
from clit_deploy.images.tiff_exif import add_exif_to_tiff
from clit_deploy.images.tiff_stream import ClosedStreamError, RowStream
from clit_deploy.images.vips_library import vips
from clit_deploy.system.threads import thread_limit_explained

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import Size
    from clit_deploy.images.image_formats import ImageFormat
    from clit_deploy.images.image_options import ImageOptions
    from clit_deploy.images.metadata import Metadata

QUALITY = {"JPEG": 95, "WebP": 95, "AVIF": 85}
CLASSIC_TIFF = 4_000_000_000
"""Bytes that a TIFF with 32-bit places can hold."""
_INCH = 25.4
"""In millimeters."""
_SCREEN = 72.0
"""Pixels an inch that readers assume where a file does not say."""
_SPACES = {1: "b-w", 2: "b-w", 3: "srgb", 4: "srgb"}
_DEEP_SPACES = {1: "grey16", 2: "grey16", 3: "rgb16", 4: "rgb16"}


class VipsWriter:
    """Encodes rows on a thread of its own, into a file.

    Args:
        path: the file; it is replaced.
        form: its format.
        size: height and width in pixels.
        channels: of the rows.
        dtype: of the rows.
        metadata: what the file says beside its pixels.
        options: quality and the like.
    """

    def __init__(
        self,
        path: Path,
        form: ImageFormat,
        size: Size,
        channels: int,
        dtype: np.dtype[Any],
        metadata: Metadata,
        options: ImageOptions,
    ) -> None:
        self._path, self._form, self._metadata = path, form, metadata
        self._channels, self._type = channels, dtype
        large = size[0] * size[1] * channels * dtype.itemsize > CLASSIC_TIFF
        self._settings = _settings(form.name, options, dtype, large=large)
        self._rows_left = size[0]
        self._stream = RowStream(size, channels, dtype)
        self._errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._encode, name="clit-encode", daemon=True)
        with thread_limit_explained():
            self._thread.start()

    def write(self, rows: NDArray[Any]) -> None:
        """Append rows `[n, width, channels]`.

        Raises:
            OutputError: the file cannot be written.
        """
        self._rows_left -= len(rows)
        try:
            self._stream.write(rows)
        except ClosedStreamError:
            self._end()

    def close(self) -> None:
        """Finish the file.

        Raises:
            ValueError: not all rows were written.
            OutputError: the file cannot be written.
        """
        if self._rows_left:
            raise ValueError(f"{self._rows_left} rows of the image are missing")
        with contextlib.suppress(ClosedStreamError):
            self._stream.finish()
        self._end()

    def abandon(self) -> None:
        """Stop; the file is not complete."""
        self._stream.close()
        self._thread.join()

    def _end(self) -> None:
        self._thread.join()
        if self._errors:
            raise _explained(self._errors[0], self._path)

    def _encode(self) -> None:
        try:
            library = vips()
            source = library.SourceCustom()
            source.on_read(self._stream.read)
            source.on_seek(self._stream.seek)
            image = library.Image.tiffload_source(source, access="sequential", fail_on="error")
            with self._path.open("r+b") as file:
                target = library.Target.new_to_descriptor(file.fileno())
                save = getattr(self._with_metadata(image), f"{_SAVERS[self._form.name]}_target")
                save(target, keep=_kept(self._metadata), **self._settings)
            if self._form.name == "TIFF" and self._metadata.exif is not None:
                add_exif_to_tiff(self._path, self._metadata.exif)
        except BaseException as error:
            self._errors.append(error)
        finally:
            self._stream.close()

    def _with_metadata(self, image: Any) -> Any:
        """The image with what its file says beside its pixels."""
        spaces = _SPACES if self._type.itemsize == 1 else _DEEP_SPACES
        across, down = self._metadata.dpi or (_SCREEN, _SCREEN)
        image = image.copy(xres=across / _INCH, yres=down / _INCH)
        if self._type.kind != "f":
            image = image.copy(interpretation=spaces[self._channels])
        for name in image.get_fields():
            if name in ("orientation", "image-description"):
                image.remove(name)
        blocks = {
            "icc-profile-data": self._metadata.profile,
            "exif-data": self._metadata.exif and marked(self._metadata.exif),
            "xmp-data": self._metadata.xmp,
            "iptc-data": self._metadata.iptc,
        }
        if self._form.name == "TIFF":  # which has the resources of Photoshop, and IPTC among them
            iptc = blocks.pop("iptc-data")
            blocks["photoshop-data"] = iptc and iptc.removeprefix(PHOTOSHOP)
        for name, data in blocks.items():
            if data is not None:
                image.set_type(vips().GValue.blob_type, name, data)
        return image


def _kept(metadata: Metadata) -> int:
    """What libvips may write, as `VipsForeignKeep`. With EXIF it writes the resolution, and makes
    EXIF of its own where there is none."""
    exif = metadata.exif or metadata.dpi
    found = [exif, metadata.xmp, metadata.iptc, metadata.profile, metadata.iptc]
    return sum(1 << bit for bit, block in enumerate(found) if block is not None)


_SAVERS = {
    "JPEG": "jpegsave",
    "WebP": "webpsave",
    "TIFF": "tiffsave",
    "AVIF": "heifsave",
    "GIF": "gifsave",
}


def _settings(
    name: str, options: ImageOptions, dtype: np.dtype[Any], *, large: bool
) -> dict[str, Any]:
    """Arguments of libvips' saver."""
    quality = options.quality or QUALITY.get(name)
    if name == "JPEG":
        return {"Q": quality, "subsample_mode": "off"}  # optimized tables need all of it in memory
    if name == "WebP":
        if options.lossless:
            return {"lossless": True, "exact": True}
        return {"Q": quality, "smart_subsample": True}
    if name == "AVIF":
        found = {"compression": "av1", "bitdepth": 8 if dtype.itemsize == 1 else 12, "effort": 3}
        lossless = {"lossless": True} if options.lossless else {"Q": quality}
        return {**found, **lossless, "subsample_mode": "off"}
    if name == "TIFF":
        found = {"compression": "deflate", "bigtiff": large}
        if dtype.kind != "f":
            found["predictor"] = "horizontal"
        if options.tiled:
            found |= {"tile": True, "tile_width": 256, "tile_height": 256, "pyramid": True}
        return found
    return {}


def _explained(error: BaseException, path: Path) -> BaseException:
    """What ended the encoder, as an error of this package."""
    text = " ".join(str(getattr(error, "detail", "") or error).split())
    if isinstance(error, MemoryError) or "memory" in text:
        return MemoryBudgetError(f"There is not enough memory to encode {path.name}; free some.")
    if isinstance(error, OSError):
        return OutputError(error.errno, f"{path} cannot be written: {error.strerror}.")
    if isinstance(error, vips().Error):
        reason = "".join(c if c.isprintable() else " " for c in text)
        return OutputError(None, f"{path} cannot be written: {reason:.200}.")
    return error
