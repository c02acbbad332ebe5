"""What an image file says beside its pixels, and what of it a result keeps."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clit_deploy.images import exif
from clit_deploy.images.png_chunks import COLOR

if TYPE_CHECKING:
    from clit_deploy.grid.cascade import Size
    from clit_deploy.images.png_chunks import Chunk

_TURNED = re.compile(rb"(tiff:Orientation(?:=[\"']|>))[2-8](?=[\"'<])")
"""The orientation in XMP, as an attribute or an element."""


PHOTOSHOP = b"Photoshop 3.0\0"
"""What JPEG puts before the resources of Photoshop."""


@dataclass(frozen=True)
class Metadata:
    """Blocks of bytes as the formats define them."""

    profile: bytes | None = None
    """An ICC profile of the pixels."""
    exif: bytes | None = None
    """Starts with its byte order."""
    xmp: bytes | None = None
    iptc: bytes | None = None
    """As JPEG has it: resources of Photoshop, and IPTC among them."""
    dpi: tuple[float, float] | None = None
    """Pixels an inch, across and down; None if the file does not say."""
    chunks: tuple[Chunk, ...] = ()
    """Of a PNG: its text, and how its colors are encoded."""

    def for_result(self, size: Size, *, strip: bool = False) -> Metadata:
        """What a result of this height and width keeps.

        It is stored upright, so orientations become 1. The resolution stays.

        Args:
            size: of the result.
            strip: keep only what the colors need.
        """
        if strip:
            color = tuple(chunk for chunk in self.chunks if chunk[0] in COLOR)
            return Metadata(self.profile, chunks=color)
        return dataclasses.replace(
            self,
            exif=exif.for_result(self.exif, size),
            xmp=self.xmp and _TURNED.sub(rb"\g<1>1", self.xmp),
        )

    def without_colors(self) -> Metadata:
        """The same for pixels that became sRGB."""
        text = tuple(chunk for chunk in self.chunks if chunk[0] not in COLOR)
        return dataclasses.replace(self, profile=None, chunks=text)
