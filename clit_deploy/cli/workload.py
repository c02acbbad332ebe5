"""How much work a command is going to do, for its first message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clit_deploy.errors import ClitDeployError
from clit_deploy.images.image_files import open_image

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from clit_deploy.grid.cascade import Size


def image_size(path: Path) -> Size | None:
    """Height and width from the header of an image; None if it cannot be read, which whoever reads
    the whole image reports."""
    try:
        with open_image(path) as image:
            return image.header.size
    except ClitDeployError:
        return None


def image_pixels(images: Iterable[Path]) -> float:
    """Pixels of all these images."""
    sizes = [image_size(path) or (0, 0) for path in images]
    return sum(height * width for height, width in sizes)


def megapixels(pixels: float) -> str:
    """`59 megapixels`, `0.24 megapixels`."""
    return f"{pixels / 1e6:,.0f} megapixels" if pixels >= 1e7 else f"{pixels / 1e6:.2g} megapixels"


def count(number: int, noun: str) -> str:
    """`1 image`, `3 images`."""
    return f"{number} {noun}{'s' * (number != 1)}"
