"""Image files on their way in: what the header says first, the pixels when they are asked for.

libvips reads them; Pillow reads the few formats that libvips does not decode.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from clit_deploy.config import show_bytes
from clit_deploy.errors import ImageError, MemoryBudgetError
from clit_deploy.images.signatures import BYTES, kind_of
from clit_deploy.images.tiff_tags import TiffTags
from clit_deploy.images.vips_library import LOADERS
from clit_deploy.system import memory
from clit_deploy.system.files import check_file
from clit_deploy.system.standard_streams import seekable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clit_deploy.images.decoded_image import DecodedImage, ImageHeader

PHOTOGRAPH = Path(__file__).parents[1] / "zoo" / "grapes.png"
"""A photograph of 128x128 pixels that ships with the package, to measure plans with."""


LARGE = 128_000_000
"""Bytes of decoded pixels; a larger image is not held as a whole where that can be helped."""


class Reader(Protocol):
    """What reads an image file."""

    @property
    def header(self) -> ImageHeader:
        """What is known before anything is decoded."""

    def decode(self) -> DecodedImage:
        """The pixels."""

    def rolling_header(self) -> ImageHeader | None:
        """The header if only the rows in use are held; None if the whole image is needed."""

    def roll(self) -> DecodedImage:
        """The image with the rows in use only."""

    def close(self) -> None:
        """Close the file."""


class ImageFile:
    """An open image file."""

    def __init__(self, path: Path, reader: Reader) -> None:
        self.path = path
        self._reader = reader
        self.header = reader.header
        """What is known before anything is decoded."""

    def allow_rolling(self) -> None:
        """Hold only the rows in use of a large image, if its format and orientation allow it. Then
        `decode` returns at once, and the pixels can be taken once, from top to bottom, while the
        file is open."""
        rolling = self._reader.rolling_header()
        if rolling is not None and self.header.decoded_bytes > LARGE:
            self.header = rolling

    def decode(self, max_memory: int | None = None) -> DecodedImage:
        """The pixels, in the file's own type.

        Args:
            max_memory: bytes that the process may hold; None takes what the machine has available.

        Raises:
            MemoryBudgetError: decoding needs more than that; nothing was decoded.
            ImageError: the file is damaged or cut off.
        """
        limit = memory.limit(max_memory)
        need = memory.resident() + self.header.decoding_bytes
        if limit is not None and need > limit:
            height, width = self.header.size
            raise MemoryBudgetError(
                f"Reading {self.path.name} ({width}x{height} pixels) needs about "
                f"{show_bytes(need)} of memory; {show_bytes(limit)} is "
                f"{'allowed' if limit == max_memory else 'available'}. Allow more, or use a "
                "smaller image."
            )
        if self.header.rolls:
            return self._reader.roll()
        decoded = self._reader.decode()
        self._reader.close()
        return decoded


@contextmanager
def open_image(path: Path, *, srgb: bool = False) -> Iterator[ImageFile]:
    """Open an image file and read its header.

    Args:
        path: the file, a pipe, or `-` for stdin. A stream is read once, into a temporary file.
        srgb: convert colors to sRGB by the file's profile.

    Raises:
        MissingFileError: no such file.
        ImageError: not an image, empty, or more pixels than the file can hold.
    """
    stored = seekable(path)
    check_file(stored, "image file")
    with stored.open("rb") as file:
        head = file.read(BYTES)
    if not head:
        raise ImageError(f"{path} is empty; copy it again.")
    reader = _reader(stored, kind_of(head, str(path)), srgb=srgb)
    try:
        yield ImageFile(path, reader)
    finally:
        reader.close()


def _reader(path: Path, kind: str, *, srgb: bool) -> Reader:
    if kind in LOADERS and not (kind == "TIFF" and TiffTags.of(path).is_narrow_lab()):
        from clit_deploy.images.vips_reader import VipsFile

        return VipsFile(path, kind, srgb=srgb)
    from clit_deploy.images.pillow_reader import PillowFile

    return PillowFile(path, kind)


def read_image(path: Path) -> DecodedImage:
    """Read an image file of any mode: gray and palette become RGB, alpha is kept apart.

    Raises:
        MissingFileError: no such file.
        ImageError: not an image, damaged, empty, or so large that it may be an attack.
        MemoryBudgetError: decoding needs more memory than the machine has available.
    """
    with open_image(path) as image:
        return image.decode()
