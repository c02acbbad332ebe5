"""A plan at work: jobs, how they are cut, and what comes of them. `Upscaler` is its public face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.errors import ClosedError, UnsupportedModelError
from clit_deploy.grid.cascade import Size, output_size
from clit_deploy.images.image_files import DecodedImage
from clit_deploy.images.pixels import unit_range
from clit_deploy.render.bilinear import bilinear_at
from clit_deploy.render.budget import (
    Forecast,
    choose,
    choose_points,
    point_memory,
    with_memory_advice,
    working_memory,
)
from clit_deploy.render.coordinates import pixel_query
from clit_deploy.render.layout import BATCHES, Job, Layout, PointLayout
from clit_deploy.render.points import PointScheduler
from clit_deploy.render.scheduler import Scheduler
from clit_deploy.system import memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import StageGrid
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.render.points import Queries
    from clit_deploy.runtimes.protocols import Runtime


@dataclass(frozen=True)
class Rendering:
    """A job that is ready to be rendered: how it is cut, and the memory to expect."""

    job: Job
    forecast: Forecast[Layout]
    _scheduler: Scheduler

    def strips(
        self, progress: Callable[[float], None] | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """The output from top to bottom, `[rows, W, 3]` at a time, not clipped."""
        with with_memory_advice(self._scheduler, self.job, self.forecast):
            yield from self._scheduler.strips(self.job, self.forecast.layout, progress)

    def array(self, *, clip: bool = False) -> NDArray[np.float32]:
        """The whole output, `[H, W, 3]`."""
        result = np.empty((*self.job.output, 3), np.float32)
        row = 0
        for strip in self.strips():
            out = result[row : row + len(strip)]
            np.clip(strip, 0, 1, out=out) if clip else np.copyto(out, strip)
            row += len(strip)
        return result


class Renderer:
    """A plan on a runtime. The runtime is its own from now on: `close` closes it.

    Args:
        plan: what to run.
        runtime: where.
        max_memory: bytes that the process may hold; None takes what the machine has available.
        layout: how every job is cut; None chooses what fits into the memory.
    """

    def __init__(
        self, plan: Plan, runtime: Runtime, max_memory: int | None, layout: Layout | None = None
    ) -> None:
        self.plan, self.runtime, self.max_memory = plan, runtime, max_memory
        self._layout = layout
        self._scheduler = Scheduler(plan, runtime)
        self._points: PointScheduler | None = PointScheduler(plan, self._scheduler)

    @property
    def closed(self) -> bool:
        """Whether runtime and graphs were given back."""
        return self._points is None

    def close(self) -> None:
        """Give the runtime's threads and graphs back."""
        self._points = None
        self._scheduler.close()
        self.runtime.close()

    def job(
        self,
        image: NDArray[np.generic] | DecodedImage,
        *,
        scale: float | None = None,
        size: Size | None = None,
    ) -> Job:
        """Check an image, and the scale or size that is wanted.

        Raises:
            ImageError: the array is no image; one that was read from a file is.
            SizeError: neither or both of scale and size, or one that these models cannot make.
        """
        pixels = image.rgb if isinstance(image, DecodedImage) else unit_range(image)
        output, ratio = output_size((pixels.shape[0], pixels.shape[1]), scale, size)
        self._open_points()
        return Job(pixels, output, ratio)

    def prepare(
        self, job: Job, *, held_per_pixel: int = 0, layout: Layout | None = None
    ) -> Rendering:
        """Load the graphs of a job and decide how to cut it.

        Args:
            job: what to render.
            held_per_pixel: bytes of output that stay in memory until the end, per output pixel.
            layout: how to cut it; None chooses what fits.

        Raises:
            MemoryBudgetError: it does not fit into the memory allowed.
        """
        self._open_points()
        scheduler = self._scheduler
        scheduler.open_stages(job)
        layout = layout or self._layout
        if layout:
            held = job.output[0] * job.output[1] * held_per_pixel + memory.resident()
            forecast = Forecast(layout, held + working_memory(scheduler, job, layout))
        else:
            forecast = choose(scheduler, job, self.max_memory, held_per_pixel)
        return Rendering(job, forecast, scheduler)

    def stage_grids(self, job: Job) -> list[StageGrid]:
        """The grids of the stages that a job runs."""
        return self._scheduler.stage_grids(job)

    def point_forecast(self, job: Job, held: int = 0) -> Forecast[PointLayout]:
        """How single queries are cut, with `held` bytes beside, and the memory to expect.

        Raises:
            MemoryBudgetError: they do not fit into the memory allowed.
        """
        if self._layout:
            layout = PointLayout(self._layout.tile, BATCHES[0])
            need = point_memory(self._scheduler, job, layout)
            return Forecast(layout, held + memory.resident() + need)
        return choose_points(self._scheduler, job, self.max_memory, held)

    def answer(
        self, job: Job, queries: Queries, progress: Callable[[float], None] | None = None
    ) -> NDArray[np.float32]:
        """The colours at places of a job's image, `[q, 3]`; its output decides the cascade."""
        points = self._open_points()
        layout = self.point_forecast(job, held=12 * len(queries.at)).layout
        rgb = points.residuals(job, queries, layout, progress)
        return rgb + bilinear_at(job.image, queries.at) if self.plan.manifest.bilinear_base else rgb

    def attention(self, job: Job, at: tuple[int, int]) -> list[NDArray[np.float32]]:
        """The attention of one output pixel, by stage; see `Upscaler.attention`.

        Raises:
            UnsupportedModelError: the plan's model has no attention.
            CoordinateError: `at` is outside the output.
        """
        manifest, points = self.plan.manifest, self._open_points()
        if any(stage.attention is None for stage in manifest.stages):
            raise UnsupportedModelError(
                f"{self.plan.name} holds a model of family {manifest.family!r}, which has no "
                "attention to show."
            )
        query = pixel_query(at, job.size, job.output)
        return points.attention(job, query, self.point_forecast(job).layout)

    def _open_points(self) -> PointScheduler:
        """What answers single queries; it is there until the renderer is closed."""
        if self._points is None:
            raise ClosedError("This upscaler is closed; load the plan again.")
        return self._points
