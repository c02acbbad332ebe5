"""What is known of an image file: its header, and its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
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


@dataclass(frozen=True)
class DecodedImage:
    """An image as the models take it: `rgb [h, w, 3]`, and `alpha [h, w, 1]` if it has any.

    Both have the file's own type, see `pixels`; they may be views, and gray images repeat one
    channel without holding it three times.
    """

    rgb: NDArray[np.generic]
    alpha: NDArray[np.generic] | None
