"""What a client requests: the tensors of a request, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clit_deploy.errors import OptionError, SizeError, printable
from clit_deploy.images.image_formats import named_suffix
from clit_deploy.tasks.output_size import OutputSize

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import Size

IMAGE, PIXELS, SCALE, SIZE, REGION, FORMAT = (
    "IMAGE", "PIXELS", "SCALE", "SIZE", "REGION", "FORMAT",
)  # fmt: skip

INPUTS = {
    IMAGE: ("TYPE_STRING", (1,)),
    PIXELS: ("TYPE_UINT8", (-1, -1, 3)),
    SCALE: ("TYPE_FP32", (1,)),
    SIZE: ("TYPE_INT32", (2,)),
    REGION: ("TYPE_FP32", (4,)),
    FORMAT: ("TYPE_STRING", (1,)),
}
"""The type and the shape of each input; all are optional, and Triton checks both."""
OUTPUTS = {name: INPUTS[name] for name in (IMAGE, PIXELS)}
"""One of them is made: PIXELS if it alone is requested."""


@dataclass(frozen=True)
class ImageRequest:
    """One image to make from one image."""

    source: bytes | NDArray[np.uint8]
    """An image file, or pixels `[h, w, 3]`."""
    wanted: OutputSize
    suffix: str | None
    """Of the file to make, like `.png`; None for pixels."""

    @classmethod
    def of(cls, tensors: Mapping[str, NDArray[Any]], outputs: Collection[str]) -> ImageRequest:
        """Read the inputs that a client sent.

        Args:
            tensors: the inputs by name, of the types and shapes of `INPUTS`.
            outputs: the names of the outputs that are requested.

        Raises:
            OptionError: an input is missing, or two exclude each other, or a format is unknown.
        """
        if (IMAGE in tensors) == (PIXELS in tensors):
            raise OptionError("Send one of the inputs IMAGE and PIXELS.")
        if (SCALE in tensors) == (SIZE in tensors):
            raise OptionError("Send one of the inputs SCALE and SIZE.")
        only_pixels = set(outputs) == {PIXELS}
        return cls(
            source=tensors[PIXELS] if PIXELS in tensors else _content(tensors[IMAGE]),
            wanted=OutputSize(
                scale=_decimals(tensors[SCALE])[0] if SCALE in tensors else None,
                size=_pair(tensors[SIZE]) if SIZE in tensors else None,
                region=_rectangle(tensors[REGION]) if REGION in tensors else None,
            ),
            suffix=None if only_pixels else _suffix(tensors),
        )

    def check_sizes(self, image: Size, most: int) -> None:
        """Refuse a request before its pixels are read.

        Args:
            image: height and width of the source.
            most: pixels of the source, and of the result.

        Raises:
            SizeError: one has more pixels, or the scale is not valid.
            CoordinateError: the region is empty or outside the image.
        """
        _check_pixels("The image", image, most)
        _check_pixels("The result", self.wanted.output(image), most)


def _check_pixels(what: str, size: Size, most: int) -> None:
    height, width = size
    if height * width > most:
        raise SizeError(
            f"{what} has {width}x{height} pixels, {height * width / 1e6:.3g} megapixels; this "
            f"server allows {most / 1e6:.3g} (the parameter max_pixels)."
        )


def _content(tensor: NDArray[Any]) -> bytes:
    content = tensor[0]
    return content if isinstance(content, bytes) else str(content).encode()


def _decimals(tensor: NDArray[Any]) -> list[float]:
    """Numbers as they were written: 2.7, not the 2.7000000477 that a float32 holds."""
    return [float(str(value)) for value in tensor]


def _rectangle(tensor: NDArray[Any]) -> tuple[float, float, float, float]:
    left, top, width, height = _decimals(tensor)
    return left, top, width, height


def _pair(tensor: NDArray[Any]) -> tuple[int, int]:
    height, width = map(int, tensor)
    return height, width


def _suffix(tensors: Mapping[str, NDArray[Any]]) -> str:
    if FORMAT not in tensors:
        return ".png"
    return named_suffix(printable(_content(tensors[FORMAT]).decode(errors="replace")))
