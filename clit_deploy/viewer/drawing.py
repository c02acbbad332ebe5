"""The pixels of tiles, and tiles as PNG files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.grid.geometry import Axis
from clit_deploy.images.pixels import to_bytes
from clit_deploy.images.png import PngWriter
from clit_deploy.images.transparency import within_input
from clit_deploy.render.layout import Block
from clit_deploy.tasks.side_by_side import bicubic_block

if TYPE_CHECKING:
    import threading

    from numpy.typing import NDArray

    from clit_deploy.viewer.open_image import OpenImage
    from clit_deploy.viewer.pyramid import Tile


def plain(image: OpenImage, tile: Tile) -> NDArray[np.uint8]:
    """A tile of the image's own pixels, or of fewer: `[h, w, 3]`, or 4 with transparency."""
    level = image.reduced(tile.scale.denominator.bit_length() - 1)
    return level[tile.rows.start : tile.rows.stop, tile.cols.start : tile.cols.stop]


def bicubic(image: OpenImage, tile: Tile) -> NDArray[np.uint8]:
    """The same, enlarged with Pillow's bicubic filter."""
    return bicubic_block(image.shown, _axes(image, tile), Block(tile.rows, tile.cols))


def enlarged(image: OpenImage, plan: int, tile: Tile, cancel: threading.Event) -> NDArray[np.uint8]:
    """The same, enlarged by the network.

    Raises:
        CancelledError: `cancel` was set.
        ClitDeployError: see `EncodedImage.render`.
    """
    encoded = image.features(plan)
    colors = encoded.render(size=tile.size, region=tile.region, dtype=np.uint8, cancel=cancel)
    pixels: NDArray[np.uint8] = colors.astype(np.uint8, copy=False)
    if image.alpha is None:
        return pixels
    made = image.alpha_features(plan).render(size=tile.size, region=tile.region, cancel=cancel)
    gray = made.astype(np.float32, copy=False).mean(axis=2, keepdims=True)
    axes, spans = _axes(image, tile), (tile.rows, tile.cols)
    y, x = (axis.cells(span, "pixel") for axis, span in zip(axes, spans, strict=True))
    alpha = within_input(gray, image.alpha, y, x)
    return np.concatenate([pixels, to_bytes(alpha)], axis=2)


def _axes(image: OpenImage, tile: Tile) -> tuple[Axis, Axis]:
    """A tile's level over the image: rows, then columns."""
    height, width, _ = image.shown.shape
    return Axis(height, tile.level[0]), Axis(width, tile.level[1])


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Pixels `[h, w, 3]`, or 4 with transparency, as a PNG file."""
    height, width, channels = pixels.shape
    file = io.BytesIO()
    with PngWriter(file, width, height, channels) as writer:
        writer.write(pixels)
    return file.getvalue()
