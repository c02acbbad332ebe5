"""One image file to another: what `clit-deploy run` does for each of its images."""

from __future__ import annotations

import errno
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.errors import OptionError, OutputError, OutputExistsError
from clit_deploy.grid.geometry import Span
from clit_deploy.images.image_files import (
    NO_ALPHA,
    DecodedImage,
    check_format,
    image_writer,
    is_streamed,
    read_image,
    to_bytes,
)
from clit_deploy.render.bilinear import bilinear
from clit_deploy.render.layout import Block
from clit_deploy.system import memory
from clit_deploy.system.files import check_writable
from clit_deploy.system.phases import phase

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from clit_deploy.grid.cascade import Size
    from clit_deploy.render.layout import Layout
    from clit_deploy.upscaler import Upscaler


@dataclass(frozen=True)
class OutputSize:
    """The output that is asked for: exactly one of scale, size, width, height."""

    scale: float | None = None
    size: Size | None = None
    width: int | None = None
    height: int | None = None

    def check(self) -> None:
        """Refuse what no image can fulfil.

        Raises:
            OptionError: none or several are given.
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
    """What was done with one image."""

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
            that would go to the same one.
    """
    if output is not None and len(images) > 1 and not output.is_dir():
        raise OutputError(errno.ENOTDIR, f"{output} is no folder; several images need one.")
    found: list[Path] = []
    for image in images:
        target = default_output(image, wanted)
        if output is not None:
            target = output / target.name if output.is_dir() else output
        if target in found:
            raise OutputExistsError(f"Two of the images would go to {target}; rename one.")
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

    Args:
        up: a loaded plan.
        source: the image.
        target: where to write.
        wanted: the size of the output.
        force: overwrite.
        layout: how to cut the work; None chooses what fits into the memory.
        progress: is told the part that is done.

    Raises:
        ClitDeployError: whatever is wrong, before the work starts if it can be known.
    """
    start = time.perf_counter()
    check_writable(target, force=force)
    with phase("read"):
        picture = read_image(source)
    height, width, _ = picture.rgb.shape
    scale, size = wanted.resolve((height, width))
    with phase("prepare"):
        job = up.renderer.job(picture, scale=scale, size=size)
        check_format(target, job.output, alpha=picture.alpha is not None)
        keep_alpha = picture.alpha is not None and target.suffix.lower() not in NO_ALPHA
        channels = 4 if keep_alpha else 3
        # Pillow's encoders hold the pixels a second time.
        held = 0 if is_streamed(target) else 2 * channels
        rendering = up.renderer.prepare(job, held_per_pixel=held, layout=layout)
        forecast = rendering.forecast
    with image_writer(target, job.output, channels) as append:
        row = 0
        for strip in rendering.strips(progress):
            rows = Span(row, row + len(strip))
            with phase("write"):
                if keep_alpha:
                    strip = _with_alpha(strip, picture, rows, job.output)
                append(to_bytes(strip))
            row = rows.stop
    return UpscaleResult(
        input=str(source),
        output=str(target),
        size=job.output,
        scale=math.sqrt(job.output[0] * job.output[1] / (height * width)),
        seconds=time.perf_counter() - start,
        tile=forecast.layout.tile,
        block=forecast.layout.block,
        predicted_bytes=forecast.peak,
        peak_bytes=memory.peak(),
    )


def _with_alpha(
    strip: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    picture: DecodedImage,
    rows: Span,
    output: Size,
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    assert picture.alpha is not None  # noqa: S101  (the caller asks only then)
    alpha = bilinear(picture.alpha, output, Block(rows, Span(0, output[1])))
    return np.concatenate([strip, alpha], axis=2)
