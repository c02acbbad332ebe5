"""Pillow's bicubic filter: how the field makes low-resolution images, and its baseline."""

from __future__ import annotations

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
