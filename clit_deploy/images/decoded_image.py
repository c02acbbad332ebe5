"""What is known of an image file: its header, and its pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.images.metadata import Metadata
from clit_deploy.images.transparency import fill_hidden

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import Size


@dataclass(frozen=True)
class ImageHeader:
    """What an image file says about itself before anything is decoded."""

    size: Size
    """Height and width as the image is shown: its orientation is applied."""
    alpha: bool
    """Whether it has transparency."""
    decoded_bytes: int
    """Bytes of its decoded pixels."""
    decoding_bytes: int
    """Most bytes that are held while it is decoded, those of the pixels included."""
    jpeg_quality: int | None = None
    """How strongly a JPEG is compressed, 1 to 100 (see `jpeg_quality`); None of other formats."""
    format: str = "PNG"
    """The name of its format: `PNG`, `JPEG`, `HEIC`."""
    gray: bool = False
    """Whether it has one channel of color."""
    depth: str = "8"
    """`8`, `16` or `float`, see `image_options.DEPTHS`."""
    lossless: bool = False
    """Whether a WebP is coded without loss; False of other formats."""
    rolls: bool = False
    """Whether only the rows in use are held, see `RollingRows`."""


@dataclass(frozen=True)
class DecodedImage:
    """An image as the models take it: `rgb [h, w, 3]`, and `alpha [h, w, 1]` if it has any.

    Both have the file's own type, see `pixels`; they may be views, and gray images repeat one
    channel without holding it three times.
    """

    rgb: NDArray[np.generic]
    alpha: NDArray[np.generic] | None
    gray: bool = False
    """Whether the three channels are one."""
    metadata: Metadata = field(default_factory=Metadata)
    """What the file says beside its pixels."""


def decoded_image(pixels: NDArray[np.generic], *, alpha: bool, metadata: Metadata) -> DecodedImage:
    """Pixels of a file as an image; hidden colors are replaced, see `fill_hidden`.

    Args:
        pixels: `[h, w, channels]`: gray or RGB, and alpha as the last one if there is any.
        alpha: whether there is.
        metadata: what the file says beside its pixels.
    """
    colors = pixels[..., :-1] if alpha else pixels
    transparency = pixels[..., -1:] if alpha else None
    if transparency is not None:
        fill_hidden(colors, transparency)
    gray = colors.shape[2] == 1
    rgb = np.broadcast_to(colors, (*colors.shape[:2], 3)) if gray else colors
    return DecodedImage(rgb, transparency, gray, metadata)
