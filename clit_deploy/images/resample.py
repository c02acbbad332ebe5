"""What the field does to images to measure with: Pillow's bicubic filter, and its JPEG."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import Size


def resize_bicubic(pixels: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """`[h, w, 3]` resampled to a height and a width, in 8 bits; antialiased if it shrinks."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BICUBIC))


def jpeg_compressed(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """`[h, w, 3]` as it comes back from a JPEG file of this quality, 1 to 95, with half chroma."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(file))
