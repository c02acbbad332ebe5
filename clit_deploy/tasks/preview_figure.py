"""One region of an output, beside bicubic, without computing the rest."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clit_deploy.errors import CoordinateError
from clit_deploy.grid.geometry import Span
from clit_deploy.images.image_files import open_image
from clit_deploy.render.layout import Block
from clit_deploy.tasks.side_by_side import check_sheet, write_sheet

if TYPE_CHECKING:
    from pathlib import Path

    from clit_deploy.grid.cascade import Size
    from clit_deploy.render.layout import Job
    from clit_deploy.tasks.output_size import OutputSize
    from clit_deploy.upscaler import Upscaler

USUAL = 256
"""Side of a region in pixels of the output, if no side is given: about a second on a CPU."""


@dataclass(frozen=True)
class PreviewResult:
    """The region that a figure shows; sizes are height and width in pixels."""

    input: str
    output: str
    size: Size
    """Of the region in the output."""
    region: dict[str, int]
    """Of the image: x and y of its upper left corner, width and height."""
    scale: float
    seconds: float


def preview_file(
    up: Upscaler,
    source: Path,
    target: Path,
    wanted: OutputSize,
    at: tuple[int, int],
    side: int | None = None,
    *,
    force: bool = False,
) -> PreviewResult:
    """Render a region of an image and draw it beside bicubic.

    Args:
        up: a loaded plan.
        source: the image.
        target: the figure.
        wanted: the size of the whole output.
        at: row and column of the image pixel in the middle of the region.
        side: of the region in image pixels; None makes about 256 pixels of output.
        force: overwrite `target`.

    Raises:
        ClitDeployError: anything that is wrong, before the work starts if it can be known.
    """
    start = time.perf_counter()
    with open_image(source) as file:
        whole = wanted.job(up.renderer, file.header.size)
        region = _region(whole.size, at, side or max(round(USUAL / whole.scale), 8))
        job = dataclasses.replace(whole, window=_outputs(whole, region))
        factor = f"x{whole.scale:.3g}"
        place = f"{len(region.cols)}x{len(region.rows)} pixels around {at[1]},{at[0]}"
        labels = f"bicubic, {factor}: {place}", f"{up.plan.name}, {factor}"
        check_sheet(target, job, labels, force=force)
        rendering = up.renderer.prepare(
            job, held_per_pixel=12, header=file.header, layout=up.renderer.leanest(job)
        )
        image = file.decode(up.max_memory).rgb
    write_sheet(target, image, rendering.array(image, clip=True), job, labels)
    corner = {"x": region.cols.start, "y": region.rows.start}
    return PreviewResult(
        input=str(source),
        output=str(target),
        size=job.made,
        region={**corner, "width": len(region.cols), "height": len(region.rows)},
        scale=whole.scale,
        seconds=time.perf_counter() - start,
    )


def _region(image: Size, at: tuple[int, int], side: int) -> Block:
    """The square of the image around a pixel, as far as it lies inside."""
    if not all(0 <= place < length for place, length in zip(at, image, strict=True)):
        raise CoordinateError(
            f"There is no pixel {at[1]},{at[0]} (column, row); the image has {image[1]}x{image[0]}."
        )
    rows, cols = (
        Span(place - side // 2, place - side // 2 + side).clip(length)
        for place, length in zip(at, image, strict=True)
    )
    return Block(rows, cols)


def _outputs(job: Job, region: Block) -> Block:
    """The pixels of the output whose centers lie in a region of the image."""
    rows, cols = (
        axis.outputs(span) for axis, span in zip(job.axes, (region.rows, region.cols), strict=True)
    )
    return Block(rows, cols)
