"""Crops of images, and their rendering with plans that differ in a graph or two."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.grid.cascade import output_size
from clit_deploy.images.pixels import to_unit
from clit_deploy.images.resample import resize_bicubic
from clit_deploy.render.layout import Job, Layout
from clit_deploy.render.scheduler import Scheduler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clit_deploy.calibration.originals import Original, Part
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.runtimes.protocols import Runtime

LAYOUT = Layout(256, 256)


def shrink(
    image: Original, scale: float, side: int, which: Part
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cut a part out of an image and shrink it by Pillow's bicubic filter.

    Args:
        image: the image.
        scale: factor by which the part is shrunk.
        side: longest side of the part.
        which: which part.

    Returns: the small part and the part itself, both 0 to 1; upscaling the small one by `scale`
        gives the size of the other.
    """
    low = [max(math.floor(min(side, length) / scale), 2) for length in image.size]
    high = output_size((low[0], low[1]), scale, None)[0]
    true = image.part(high, scale, which)
    small = resize_bicubic(true, (low[0], low[1]))
    return to_unit(small), to_unit(true)


def render(
    plan: Plan, runtime: Runtime, image: NDArray[np.float32], scale: float
) -> NDArray[np.float32]:
    """Upscale an image `[h, w, 3]`, 0 to 1; the output is not clipped."""
    scheduler = Scheduler(plan, runtime)
    try:
        size = image.shape[0], image.shape[1]
        job = Job(size, *output_size(size, scale, None))
        return np.concatenate(list(scheduler.strips(image, job, LAYOUT)))
    finally:
        scheduler.close()
