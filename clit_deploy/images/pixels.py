"""Arrays of pixels as the models take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.errors import ImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST_VALUE = 2.0
"""Float images may overshoot white a little; 255 is another convention."""


def unit_range(image: NDArray[np.generic]) -> NDArray[np.float32]:
    """uint8, uint16 or float `[h, w, 3]` -> float32, 0 to 1.

    Raises:
        ImageError: another shape or type, or values that are not finite.
    """
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3:
        shape = getattr(image, "shape", type(image).__name__)
        raise ImageError(f"The image is {shape}; an array [height, width, 3] is needed.")
    if 0 in image.shape:
        raise ImageError(f"The image is empty: {image.shape[1]}x{image.shape[0]} pixels.")
    if image.dtype in (np.uint8, np.uint16):
        largest = 255 if image.dtype == np.uint8 else 65535
        unit: NDArray[np.float32] = np.divide(image, largest, dtype=np.float32)
        return unit
    if not np.issubdtype(image.dtype, np.floating):
        raise ImageError(f"The image is of type {image.dtype}; use uint8, uint16 or float32.")
    pixels = np.ascontiguousarray(image, np.float32)
    if not np.isfinite(pixels).all():
        raise ImageError("The image holds NaN or infinite values.")
    if pixels.max() > LARGEST_VALUE:
        raise ImageError(
            f"The image is of type {image.dtype} and reaches {pixels.max():g}; floats are 0 to 1, "
            "so divide it by its white."
        )
    return pixels
