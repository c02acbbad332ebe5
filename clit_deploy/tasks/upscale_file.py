"""From one image file to another: what `clit-deploy run` does for each image."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clit_deploy.images.image_files import open_image
from clit_deploy.images.image_formats import lossless_like
from clit_deploy.images.image_options import DEFAULT, ImageOptions
from clit_deploy.system import memory
from clit_deploy.system.files import check_writable, file_digest, is_stream
from clit_deploy.system.phases import phase
from clit_deploy.system.standard_streams import send
from clit_deploy.tasks.file_rendering import FileRendering
from clit_deploy.tasks.finished_strips import Result, finished_strips
from clit_deploy.tasks.result_format import result_suffix
from clit_deploy.tasks.row_journal import check_resumable, row_journal
from clit_deploy.tasks.shared_features import NOT_SHARED, SharedFeatures
from clit_deploy.tasks.turns import ALONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from clit_deploy.grid.cascade import Size
    from clit_deploy.render.layout import Layout
    from clit_deploy.render.region import Rectangle
    from clit_deploy.render.renderer import Rendering
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
    shared: SharedFeatures = NOT_SHARED,
    resume: bool = False,
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
        shared: features that are kept for other results of the image.
        resume: keep finished rows in a file, and go on from those that are there.

    Raises:
        ClitDeployError: anything that is wrong, before the work starts if it can be known.
    """
    if resume:
        check_resumable(source, target)
    if is_stream(target):
        settings: dict[str, Any] = {"layout": layout, "progress": progress, "turn": turn}
        return _upscale_to_stream(up, source, target, wanted, options, **settings)
    start = time.perf_counter()
    check_writable(target, force=force)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open_image(source, srgb=options.srgb))
        file.allow_rolling()
        options = lossless_like(options, file.header, target)
        making = FileRendering(up, source, target, wanted, options)
        journal = stack.enter_context(row_journal(target)) if resume else None
        kept = NOT_SHARED if journal else shared
        tiles = stack.enter_context(kept.of(source, file.header, up))
        with phase("prepare"):
            continued = journal.layout if journal else None
            prepare = making.preparation(file.header, continued or layout, tiles)
            rendering = turn.prepared(prepare)
        if continued:
            making.check_continued(rendering)
        with phase("read"):
            image = file.decode(up.max_memory)
        if rendering.tiles is not None:
            rendering.tiles.read_from(image.rgb)
        result = Result.of(target, file.header, options)
        strips = partial(finished_strips, rendering, image, result, progress)
        if journal is not None:
            journal.begin(making.identity(rendering, result, file_digest(source)))
            strips = partial(journal.completed, strips, rendering.job.made, result)
        making.write(image, result, rendering, strips(), turn)
    return described(making, rendering, time.perf_counter() - start)


def described(making: FileRendering, rendering: Rendering, seconds: float) -> UpscaleResult:
    """What became of an image that took so many seconds."""
    job, forecast = rendering.job, rendering.forecast
    return UpscaleResult(
        input=str(making.source),
        output=str(making.target),
        size=job.made,
        region=_named(making.wanted.region),
        scale=math.sqrt(job.whole[0] * job.whole[1] / (job.size[0] * job.size[1])),
        stages=job.depth(making.up.plan.manifest),
        seconds=seconds,
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
