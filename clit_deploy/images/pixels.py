"""Arrays of pixels: `[h, w, channels]` in the type that their file or their caller gave them.

uint8 stands for 0 to 255, uint16 for 0 to 65,535, and floats for 0 to 1. Whole images keep their
type; only the part that is worked on becomes float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from clit_deploy.errors import ImageError
from clit_deploy.grid.geometry import Span

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST_VALUE = 2.0
"""Float images may overshoot white a little; 255 is another convention."""

ROWS = 64
"""Rows that are converted at once, so that no temporary array has the size of the image."""


def white_of(dtype: np.dtype[Any] | type) -> int:
    """The value of white in an image of this type."""
    return {"u1": 255, "u2": 65535}.get(np.dtype(dtype).str[1:], 1)


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


def check_white(values: NDArray[np.generic], white: int) -> None:
    """Refuse floats and wide integers of a file whose white is another value than is assumed.

    Args:
        values: of any shape.
        white: the assumed value, 1 or 65535.

    Raises:
        ImageError: values below 0 or above white, or NaN.
    """
    if not (values.min() >= 0 and values.max() <= white):
        raise ImageError(
            "The image's floats or 32-bit integers go beyond 0..1 (or 0..65535), so their white "
            "is not known; save it with 8 or 16 bits."
        )


def to_unit(pixels: NDArray[np.generic]) -> NDArray[np.float32]:
    """uint8, uint16 or float of any shape -> float32, 0 to 1; float32 is not copied."""
    if pixels.dtype in (np.uint8, np.uint16):
        unit: NDArray[np.float32] = np.divide(pixels, white_of(pixels.dtype), dtype=np.float32)
        return unit
    return np.asarray(pixels, np.float32)


def to_depth(pixels: NDArray[np.generic], dtype: np.dtype[Any] | type) -> NDArray[Any]:
    """uint8, uint16 or float of any shape -> another of these types, clipped and rounded.

    An array that is already so is not copied.
    """
    wanted = np.dtype(dtype)
    if pixels.dtype == wanted:
        return np.ascontiguousarray(pixels)
    result = np.empty(pixels.shape, wanted)
    for rows in Span(0, len(pixels)).split(ROWS):
        part = np.clip(to_unit(pixels[rows.start : rows.stop]), 0, 1)
        if wanted.kind == "u":
            part *= white_of(wanted)
            part += 0.5
        result[rows.start : rows.stop] = part
    return result


def to_bytes(pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
    """uint8, uint16 or float of any shape -> uint8; see `to_depth`."""
    return to_depth(pixels, np.uint8)
