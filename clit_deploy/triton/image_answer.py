"""From a request to its image: files as `run` makes them, pixels as `Upscaler.upscale` does."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clit_deploy.errors import CancelledError, ClitDeployError, error_message
from clit_deploy.images.decoded_image import DecodedImage
from clit_deploy.images.image_files import open_image, read_image
from clit_deploy.images.image_options import WHITE, ImageOptions
from clit_deploy.images.image_writer import image_writer
from clit_deploy.images.pixels import check_pixels
from clit_deploy.tasks.finished_strips import Result, finished_strips
from clit_deploy.tasks.upscale_file import upscale_file
from clit_deploy.triton.image_request import IMAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import Size
    from clit_deploy.triton.image_request import ImageRequest
    from clit_deploy.upscaler import Upscaler

RGB = Result(3, np.dtype(np.uint8), WHITE)
HELD = 9
"""Bytes of each pixel of a result that are in memory at the end: the array, and two copies that
Triton makes."""


@dataclass(frozen=True)
class ImageAnswers:
    """Answers requests with a loaded plan."""

    up: Upscaler
    most_pixels: int
    """Of an image that comes in, and of one that goes out."""

    def answer(
        self, request: ImageRequest, cancelled: Callable[[], bool]
    ) -> bytes | NDArray[np.uint8]:
        """The image that a request wants.

        Args:
            request: what to make.
            cancelled: asked between two blocks whether nobody waits any more.

        Returns: an image file, or pixels `[H, W, 3]`.

        Raises:
            SizeError: too many pixels, or a size that these models cannot make.
            ImageError: the image cannot be read.
            CancelledError: nobody waits.
            ClitDeployError: see `upscale_file`.
        """

        def progress(_: float) -> None:
            if cancelled():
                raise CancelledError("The request was cancelled.")

        progress(0)  # it may have been cancelled while it waited
        with _folder() as folder:
            if not isinstance(request.source, bytes):
                return self._of_pixels(request.source, request, folder, progress)
            (folder / IMAGE).write_bytes(request.source)
            return self._of_file(folder / IMAGE, request, progress)

    def _of_file(
        self, source: Path, request: ImageRequest, progress: Callable[[float], None]
    ) -> bytes | NDArray[np.uint8]:
        with open_image(source) as file:
            request.check_sizes(file.header.size, self.most_pixels)
        # A BMP holds 8-bit RGB as it is, and costs no compression.
        target = source.with_name(f"result{request.suffix or '.bmp'}")
        options = ImageOptions() if request.suffix else ImageOptions(depth="8", srgb=True)
        upscale_file(self.up, source, target, request.wanted, options=options, progress=progress)
        if request.suffix:
            return target.read_bytes()
        return np.ascontiguousarray(read_image(target).rgb, np.uint8)

    def _of_pixels(
        self,
        pixels: NDArray[np.uint8],
        request: ImageRequest,
        folder: Path,
        progress: Callable[[float], None],
    ) -> bytes | NDArray[np.uint8]:
        check_pixels(pixels)
        size = pixels.shape[0], pixels.shape[1]
        request.check_sizes(size, self.most_pixels)
        job = request.wanted.job(self.up.renderer, size)
        rendering = self.up.renderer.prepare(job, held_per_pixel=HELD)
        strips = finished_strips(rendering, DecodedImage(pixels, None), RGB, progress)
        if request.suffix is None:
            return _stacked(strips, job.made)
        target = folder / f"result{request.suffix}"
        with image_writer(target, job.made, RGB.channels) as append:
            for strip in strips:
                append(strip)
        return target.read_bytes()


def _stacked(strips: Iterator[NDArray[Any]], size: Size) -> NDArray[np.uint8]:
    made, row = np.empty((*size, 3), np.uint8), 0
    for strip in strips:
        made[row : row + len(strip)] = strip
        row += len(strip)
    return made


@contextmanager
def _folder() -> Iterator[Path]:
    """A temporary folder, which no message names."""
    with tempfile.TemporaryDirectory(prefix="clit-deploy-") as name:
        try:
            yield Path(name)
        except ClitDeployError as error:
            message = error_message(error)
            if name not in message:
                raise
            raise type(error)(message.replace(f"{name}/", "")) from None
