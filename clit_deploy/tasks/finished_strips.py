"""From what the network makes to rows of a file: gray or RGB, transparency, depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clit_deploy.grid.geometry import Span
from clit_deploy.images.image_formats import channels_of, depth_of
from clit_deploy.images.image_options import DEFAULT, DEPTHS, ImageOptions
from clit_deploy.images.pixels import to_depth
from clit_deploy.images.transparency import is_opaque, over, within_input

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from clit_deploy.images.decoded_image import DecodedImage, ImageHeader
    from clit_deploy.render.renderer import Rendering


@dataclass(frozen=True)
class Result:
    """What the rows of a file are."""

    channels: int
    """1 (gray), 2 (gray and alpha), 3 (RGB) or 4 (RGB and alpha)."""
    dtype: np.dtype[Any]
    background: tuple[int, int, int]
    """8-bit color under transparent parts, if there is no alpha."""

    @classmethod
    def of(cls, target: Path, header: ImageHeader, options: ImageOptions = DEFAULT) -> Result:
        """The rows of a file that an input with this header becomes."""
        gray = header.gray and not _is_colored(target, header, options)
        depth = depth_of(target, options.depth or header.depth)
        channels = channels_of(target, alpha=header.alpha, gray=gray)
        return cls(channels, np.dtype(DEPTHS[depth]), options.background)


def _is_colored(target: Path, header: ImageHeader, options: ImageOptions) -> bool:
    """Whether a gray image gets a background that is not gray."""
    covered = header.alpha and channels_of(target, alpha=True) == 3
    return covered and len(set(options.background)) > 1


def finished_strips(
    rendering: Rendering,
    image: DecodedImage,
    result: Result,
    progress: Callable[[float], None] | None = None,
    finished: int = 0,
) -> Iterator[NDArray[Any]]:
    """The output from top to bottom, `[rows, W, channels]` at a time, in the file's type.

    Args:
        rendering: of the image; with transparency it is used for two images side by side.
        image: the input.
        result: what the rows have to be.
        progress: called with the part that is done, 0 to 1.
        finished: rows at the top that are left out, a whole number of strips.

    Raises:
        ClosedError, NonFiniteError, DeviceMemoryError: see `Rendering.strips`.
    """
    alphas = _alphas(rendering, image, finished)
    for strip in rendering.strips(image.rgb, progress, finished=finished):
        colors = strip.mean(axis=2, keepdims=True) if image.gray else strip
        yield in_file(colors, None if alphas is None else next(alphas), result)


def in_file(
    colors: NDArray[np.float32], alpha: NDArray[np.float32] | None, result: Result
) -> NDArray[Any]:
    """Rows of the result in the file's type.

    Args:
        colors: `[rows, W, 1]` or `[rows, W, 3]`, 0 to 1.
        alpha: `[rows, W, 1]`; None for opaque.
        result: what the rows have to be.
    """
    return to_depth(_in_channels(colors, alpha, result), result.dtype)


def _in_channels(
    colors: NDArray[np.float32], alpha: NDArray[np.float32] | None, result: Result
) -> NDArray[np.float32]:
    """Colors, 1 or 3 channels, and alpha as the channels of the result."""
    if result.channels in (2, 4):
        opaque = np.ones_like(colors[..., :1])
        return np.concatenate(
            [_widened(colors, result.channels - 1), opaque if alpha is None else alpha], axis=2
        )
    colors = _widened(colors, result.channels)
    return colors if alpha is None else over(colors, alpha, result.background)


def _widened(colors: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """Gray as RGB, if that is what is needed."""
    return colors if colors.shape[2] == channels else np.repeat(colors, channels, axis=2)


def _alphas(
    rendering: Rendering, image: DecodedImage, finished: int
) -> Iterator[NDArray[np.float32]] | None:
    """Transparency of the output, strip by strip; None if the input has none."""
    if image.alpha is None or is_opaque(image.alpha):
        return None
    return _upscaled_alpha(rendering, image.alpha, finished)


def _upscaled_alpha(
    rendering: Rendering, alpha: NDArray[np.generic], finished: int
) -> Iterator[NDArray[np.float32]]:
    job = rendering.job
    row = job.part.rows.start + finished
    whole = np.broadcast_to(alpha, (*alpha.shape[:2], 3))
    for strip in rendering.strips(whole, finished=finished):
        rows, row = Span(row, row + len(strip)), row + len(strip)
        made = strip.mean(axis=2, keepdims=True)
        y, x = (
            axis.cells(span, "pixel")
            for axis, span in zip(job.axes, (rows, job.part.cols), strict=True)
        )
        yield within_input(made, alpha, y, x)
