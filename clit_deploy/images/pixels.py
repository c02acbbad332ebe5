"""Arrays of pixels: `[h, w, channels]` in the type that their file or their caller gave them.

uint8 stands for 0 to 255, uint16 for 0 to 65,535, and floats for 0 to 1. Whole images keep their
type; only the part that is worked on becomes float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.errors import ImageError
from clit_deploy.grid.geometry import Span

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST_VALUE = 2.0
"""Float images may overshoot white a little; 255 is another convention."""

ROWS = 64
"""Rows that are converted at once, so that no temporary array has the size of the image."""


def check_pixels(image: NDArray[np.generic]) -> None:
    """Refuse what is not an image.

    Args:
        image: uint8, uint16 or float (0 to 1), `[h, w, 3]`.

    Raises:
        ImageError: another shape or type, or values that are not finite.
    """
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3:
        shape = getattr(image, "shape", type(image).__name__)
        raise ImageError(f"The image is {shape}; an array [height, width, 3] is needed.")
    if 0 in image.shape:
        raise ImageError(f"The image is empty: {image.shape[1]}x{image.shape[0]} pixels.")
    if image.dtype in (np.uint8, np.uint16):
        return
    if not np.issubdtype(image.dtype, np.floating):
        raise ImageError(f"The image is of type {image.dtype}; use uint8, uint16 or float32.")
    low, high = image.min(), image.max()  # NaN if any value is
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageError("The image holds NaN or infinite values.")
    if high > LARGEST_VALUE:
        raise ImageError(
            f"The image is of type {image.dtype} and reaches {high:g}; floats are 0 to 1, "
            "so divide it by its white."
        )


def to_unit(pixels: NDArray[np.generic]) -> NDArray[np.float32]:
    """uint8, uint16 or float of any shape -> float32, 0 to 1; float32 is not copied."""
    if pixels.dtype in (np.uint8, np.uint16):
        white = 255 if pixels.dtype == np.uint8 else 65535
        unit: NDArray[np.float32] = np.divide(pixels, white, dtype=np.float32)
        return unit
    return np.asarray(pixels, np.float32)


def to_bytes(pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
    """uint8, uint16 or float of any shape -> uint8, clipped and rounded, in one piece.

    An array that is already so is not copied.
    """
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels, np.uint8)
    result = np.empty(pixels.shape, np.uint8)
    for rows in Span(0, len(pixels)).split(ROWS):
        part = np.clip(to_unit(pixels[rows.start : rows.stop]), 0, 1)
        part *= 255
        part += 0.5
        result[rows.start : rows.stop] = part
    return result
