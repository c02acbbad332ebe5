"""How a result is to be written: the choices that an image file leaves open."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clit_deploy.errors import OptionError

WHITE = (255, 255, 255)

DEPTHS = {"8": np.uint8, "16": np.uint16, "float": np.float32}
"""Bits of a channel, or floats of 32 bits, and their types."""


@dataclass(frozen=True)
class ImageOptions:
    """Options of a result. The defaults keep what the input has.

    Raises:
        OptionError: a value out of its range.
    """

    format: str | None = None
    """A format by the name that file names end with: `png`, `jpg`; None takes the input's own."""
    depth: str | None = None
    """One of `DEPTHS`; None takes the input's own where the format can hold it."""
    quality: int | None = None
    """1 to 100, of JPEG, WebP and AVIF."""
    lossless: bool = False
    """Of WebP and AVIF."""
    tiled: bool = False
    """Of TIFF: squares of 256 pixels and smaller copies, for viewers of large images."""
    srgb: bool = False
    """Convert to sRGB, instead of keeping the input's encoding and profile."""
    background: tuple[int, int, int] = WHITE
    """8-bit color under transparent parts, for formats without transparency."""
    strip: bool = False
    """Write no metadata but the profile."""

    def __post_init__(self) -> None:
        if self.depth is not None and self.depth not in DEPTHS:
            raise OptionError(f"'{self.depth:.200}' is not a depth; use {', '.join(DEPTHS)}.")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise OptionError(f"The quality is {self.quality}; a number from 1 to 100 is needed.")
        if len(self.background) != 3 or not all(0 <= c <= 255 for c in self.background):
            raise OptionError("The background needs three numbers from 0 to 255.")


DEFAULT = ImageOptions()
