"""Rendering small pictures with plans that differ in a graph or two."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from clit_deploy.calibration.calibration_images import part
from clit_deploy.grid.cascade import output_size
from clit_deploy.render.scheduler import Job, Layout, Scheduler
from clit_deploy.upscaler import unit_range

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clit_deploy.calibration.calibration_images import Part
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.runtimes.protocols import Arrays, Runner, Runtime

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
    small = Image.fromarray(true).resize((low[1], low[0]), Image.Resampling.BICUBIC)
    return unit_range(np.asarray(small)), unit_range(true)


def render(
    plan: Plan, runtime: Runtime, image: NDArray[np.float32], scale: float
) -> NDArray[np.float32]:
    """An image `[h, w, 3]`, 0 to 1, enlarged; not clipped."""
    scheduler = Scheduler(plan, runtime)
    try:
        output, ratio = output_size((image.shape[0], image.shape[1]), scale, None)
        return np.concatenate(list(scheduler.strips(Job(image, output, ratio), LAYOUT)))
    finally:
        scheduler.close()


class CachingRuntime:
    """A runtime that opens each graph of one plan once, for plans that share most graphs."""

    def __init__(self, inner: Runtime, plan: Plan) -> None:
        self.name, self.work_limits = inner.name, inner.work_limits
        self.arrays: Arrays = inner.arrays
        self._inner = inner
        self._shared = set(plan.manifest.digests.values())
        self._runners: dict[tuple[Any, ...], Runner] = {}

    def runner(self, plan: Plan, member: str, **options: Any) -> Runner:
        """See `Runtime.runner`."""
        digest = plan.manifest.digests[member]
        if digest not in self._shared:
            return self._inner.runner(plan, member, **options)
        dims = sorted((options.get("dims") or {}).items())
        key = (digest, plan.manifest.precision, options["parallel"], *dims)
        if key not in self._runners:
            self._runners[key] = self._inner.runner(plan, member, **options)
        return self._runners[key]

    def close(self) -> None:
        """Let the graphs go; the inner runtime is its owner's."""
        self._runners.clear()
