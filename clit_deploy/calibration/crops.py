"""Rendering small pictures with plans that differ in a graph or two."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.calibration.calibration_images import part
from clit_deploy.grid.cascade import output_size
from clit_deploy.images.pixels import to_unit
from clit_deploy.images.resample import resize_bicubic
from clit_deploy.render.layout import Job, Layout
from clit_deploy.render.scheduler import Scheduler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clit_deploy.calibration.calibration_images import Part
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.runtimes.protocols import Runtime

LAYOUT = Layout(256, 256)


def shrink(
    picture: NDArray[np.uint8], scale: float, side: int, which: Part
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A part of a picture, at most `side` long, and that made smaller by Pillow's bicubic filter:
    the small one and the true one, both 0 to 1. The output of the small one at `scale` has the
    size of the true one."""
    low = [max(math.floor(min(side, length) / scale), 2) for length in picture.shape[:2]]
    high = output_size((low[0], low[1]), scale, None)[0]
    true = part(picture, high, which)
    small = resize_bicubic(true, (low[0], low[1]))
    return to_unit(small), to_unit(true)


def render(
    plan: Plan, runtime: Runtime, image: NDArray[np.float32], scale: float
) -> NDArray[np.float32]:
    """An image `[h, w, 3]`, 0 to 1, enlarged; not clipped."""
    scheduler = Scheduler(plan, runtime)
    try:
        size = image.shape[0], image.shape[1]
        job = Job(size, *output_size(size, scale, None))
        return np.concatenate(list(scheduler.strips(image, job, LAYOUT)))
    finally:
        scheduler.close()
