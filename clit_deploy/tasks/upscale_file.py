"""From one image file to another: what `clit-deploy run` does for each image."""

from __future__ import annotations

import errno
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.errors import OptionError, OutputError, OutputExistsError
from clit_deploy.grid.geometry import Span
from clit_deploy.images.image_files import open_image
from clit_deploy.images.image_formats import channels_of, check_format, held_per_pixel
from clit_deploy.images.image_writer import image_writer
from clit_deploy.images.pixels import to_bytes
from clit_deploy.render.bilinear import bilinear
from clit_deploy.render.layout import Block
from clit_deploy.system import memory
from clit_deploy.system.files import check_writable
from clit_deploy.system.phases import phase

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import Size
    from clit_deploy.images.decoded_image import DecodedImage
    from clit_deploy.render.layout import Layout
    from clit_deploy.upscaler import Upscaler


@dataclass(frozen=True)
class OutputSize:
    """The requested output: exactly one of scale, size (height, width), width and height."""

    scale: float | None = None
    size: Size | None = None
    width: int | None = None
    height: int | None = None

    def check(self) -> None:
        """Refuse a request that no image can satisfy.

        Raises:
            OptionError: none or several of the four are given.
        """
        given = [v for v in (self.scale, self.size, self.width, self.height) if v is not None]
        if len(given) != 1:
            raise OptionError("Give exactly one of --scale, --size, --width and --height.")

    def resolve(self, image: Size) -> tuple[float | None, Size | None]:
        """Scale or size (height, width) for an image of this size."""
        if self.width is not None:
            return None, (round(image[0] * self.width / image[1]), self.width)
        if self.height is not None:
            return None, (self.height, round(image[1] * self.height / image[0]))
        return self.scale, self.size


@dataclass(frozen=True)
class UpscaleResult:
    """The result of one image; sizes are height and width in pixels, memory is in bytes."""

    input: str
    output: str
    size: Size
    scale: float
    seconds: float
    tile: int
    block: int
    predicted_bytes: int
    peak_bytes: int


def default_output(image: Path, wanted: OutputSize) -> Path:
    """Beside the image, with the size in its name: `photo_x4.png`."""
    if wanted.scale is not None:
        suffix = f"x{wanted.scale:g}"
    elif wanted.size is not None:
        suffix = f"{wanted.size[1]}x{wanted.size[0]}"
    else:
        suffix = f"w{wanted.width}" if wanted.width is not None else f"h{wanted.height}"
    return image.parent / f"{image.stem}_{suffix}.png"


def targets(
    images: list[Path], output: Path | None, wanted: OutputSize, *, force: bool
) -> list[Path]:
    """Where each image goes: beside itself, into the folder `output`, or to the file `output`.

    Raises:
        OutputExistsError, OutputError: a file that may not or cannot be written, or two images
            with the same output file.
    """
    if output is not None and len(images) > 1 and not output.is_dir():
        raise OutputError(errno.ENOTDIR, f"{output} is not a folder; several images need one.")
    found: list[Path] = []
    for image in images:
        target = default_output(image, wanted)
        if output is not None:
            target = output / target.name if output.is_dir() else output
        if target in found:
            raise OutputExistsError(f"Two of the images would be written to {target}; rename one.")
        check_writable(target, force=force)
        found.append(target)
    return found


def upscale_file(
    up: Upscaler,
    source: Path,
    target: Path,
    wanted: OutputSize,
    *,
    force: bool = False,
    layout: Layout | None = None,
    progress: Callable[[float], None] | None = None,
) -> UpscaleResult:
    """Read, upscale and write one image; alpha is resampled bilinearly.

    Sizes, format, disk and memory are checked from the header, before anything is decoded.

    Args:
        up: a loaded plan.
        source: the image.
        target: where to write.
        wanted: the size of the output.
        force: overwrite `target`.
        layout: how to cut the work; None chooses what fits into the memory.
        progress: called with the part that is done, 0 to 1.

    Raises:
        ClitDeployError: anything that is wrong, before the work starts if it can be known.
    """
    start = time.perf_counter()
    check_writable(target, force=force)
    with open_image(source) as file:
        header = file.header
        scale, size = wanted.resolve(header.size)
        with phase("prepare"):
            job = up.renderer.job_of(header.size, scale=scale, size=size)
            check_format(target, job.output, alpha=header.alpha)
            channels = channels_of(target, alpha=header.alpha)
            rendering = up.renderer.prepare(
                job,
                held_per_pixel=held_per_pixel(target, channels),
                header=header,
                layout=layout,
            )
        with phase("read"):
            image = file.decode(up.max_memory)
    with image_writer(target, job.output, channels) as append:
        row = 0
        for strip in rendering.strips(image.rgb, progress):
            rows = Span(row, row + len(strip))
            with phase("write"):
                append(_encoded(strip, image, rows, job.output, channels))
            row = rows.stop
    forecast = rendering.forecast
    return UpscaleResult(
        input=str(source),
        output=str(target),
        size=job.output,
        scale=math.sqrt(job.output[0] * job.output[1] / (job.size[0] * job.size[1])),
        seconds=time.perf_counter() - start,
        tile=forecast.layout.tile,
        block=forecast.layout.block,
        predicted_bytes=forecast.peak,
        peak_bytes=memory.peak(),
    )


def _encoded(
    strip: NDArray[np.float32], image: DecodedImage, rows: Span, output: Size, channels: int
) -> NDArray[np.uint8]:
    """A strip of the output as bytes `[rows, W, channels]`, with alpha if there are four."""
    rgb = to_bytes(strip)
    if channels == 3 or image.alpha is None:
        return rgb
    alpha = bilinear(image.alpha, output, Block(rows, Span(0, output[1])))
    return np.concatenate([rgb, to_bytes(alpha)], axis=2)
