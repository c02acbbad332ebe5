"""Smaller copies of an image, for views that show more of it than the screen has pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clit_deploy.images.vips_library import vips

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def halved(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An image with half the sides, each pixel the mean of four; an odd last row or column is
    repeated.

    Args:
        pixels: `[h, w, 3]`, or `[h, w, 4]` with alpha, which weights the means.
    """
    image = vips().Image.new_from_array(pixels, interpretation="srgb")
    if pixels.shape[2] == 4:
        image = image.premultiply().shrink(2, 2, ceil=True).unpremultiply().rint().cast("uchar")
    else:
        image = image.shrink(2, 2, ceil=True)
    made: NDArray[np.uint8] = image.numpy()
    return made
