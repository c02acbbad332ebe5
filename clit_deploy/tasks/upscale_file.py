"""From one image file to another: what `clit-deploy run` does for each image."""

from __future__ import annotations

import dataclasses
import math
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clit_deploy.images.image_files import open_image
from clit_deploy.images.image_formats import check_format, held_per_pixel
from clit_deploy.images.image_options import DEFAULT, ImageOptions
from clit_deploy.images.image_writer import image_writer
from clit_deploy.system import memory
from clit_deploy.system.files import check_writable, is_stream
from clit_deploy.system.phases import phase
from clit_deploy.system.standard_streams import send
from clit_deploy.tasks.finished_strips import Result, finished_strips
from clit_deploy.tasks.result_format import result_suffix
from clit_deploy.tasks.turns import ALONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from clit_deploy.grid.cascade import Size
    from clit_deploy.render.layout import Layout
    from clit_deploy.render.region import Rectangle
    from clit_deploy.tasks.output_size import OutputSize
    from clit_deploy.tasks.turns import Turn
    from clit_deploy.upscaler import Upscaler


@dataclass(frozen=True)
class UpscaleResult:
    """The result of one image; sizes are height and width in pixels, memory is in bytes."""

    input: str
    output: str
    size: Size
    region: dict[str, float] | None
    """Of the image: x and y of its upper left corner, width and height; None for all of it."""
    scale: float
    stages: int
    """How many stages of the model's cascade ran."""
    seconds: float
    tile: int
    block: int
    predicted_bytes: int
    peak_bytes: int


def upscale_file(
    up: Upscaler,
    source: Path,
    target: Path,
    wanted: OutputSize,
    *,
    options: ImageOptions = DEFAULT,
    force: bool = False,
    layout: Layout | None = None,
    progress: Callable[[float], None] | None = None,
    turn: Turn = ALONE,
) -> UpscaleResult:
    """Read, upscale and write one image. Transparency goes through the network like a gray image.

    Sizes, format, disk and memory are checked from the header, before anything is decoded.

    Args:
        up: a loaded plan.
        source: the image.
        target: where to write; `-` for stdout, which gets the whole file at the end.
        wanted: the size of the output.
        options: how to write it.
        force: overwrite `target`.
        layout: how to cut the work; None chooses what fits into the memory.
        progress: called with the part that is done, 0 to 1.
        turn: when it may use memory and compute, if there are other images.

    Raises:
        ClitDeployError: anything that is wrong, before the work starts if it can be known.
    """
    if is_stream(target):
        settings: dict[str, Any] = {"layout": layout, "progress": progress, "turn": turn}
        return _upscale_to_stream(up, source, target, wanted, options, **settings)
    start = time.perf_counter()
    check_writable(target, force=force)
    with open_image(source, srgb=options.srgb) as file:
        file.allow_rolling()
        header = file.header
        with phase("prepare"):
            job = wanted.job(up.renderer, header.size)
            check_format(target, job.made, alpha=header.alpha, options=options)
            rendering = turn.prepared(
                partial(
                    up.renderer.prepare,
                    job,
                    held_per_pixel=held_per_pixel(target),
                    header=header,
                    layout=layout,
                    planes=2 if header.alpha else 1,
                )
            )
        with phase("read"):
            image = file.decode(up.max_memory)
        result = Result.of(target, header, options)
        metadata = image.metadata.for_result(job.made, strip=options.strip)
        writer = image_writer(
            target,
            job.made,
            result.channels,
            dtype=result.dtype,
            metadata=metadata,
            options=options,
        )
        with writer as append, turn.computing():
            for rows in finished_strips(rendering, image, result, progress):
                with phase("write"):
                    append(rows)
    forecast = rendering.forecast
    return UpscaleResult(
        input=str(source),
        output=str(target),
        size=job.made,
        region=_named(wanted.region),
        scale=math.sqrt(job.whole[0] * job.whole[1] / (job.size[0] * job.size[1])),
        stages=job.depth(up.plan.manifest),
        seconds=time.perf_counter() - start,
        tile=forecast.layout.tile,
        block=forecast.layout.block,
        predicted_bytes=forecast.peak,
        peak_bytes=memory.peak(),
    )


def _named(region: Rectangle | None) -> dict[str, float] | None:
    return region and dict(zip(("x", "y", "width", "height"), region, strict=True))


def _upscale_to_stream(
    up: Upscaler,
    source: Path,
    stream: Path,
    wanted: OutputSize,
    options: ImageOptions,
    **settings: Any,
) -> UpscaleResult:
    """The same by way of a temporary file: most formats cannot be written front to back."""
    with tempfile.TemporaryDirectory(prefix="clit-deploy-") as folder:
        file = Path(folder) / f"out{result_suffix(source, [wanted], options)}"
        result = upscale_file(up, source, file, wanted, options=options, **settings)
        send(file, stream)
    return dataclasses.replace(result, output=str(stream))
