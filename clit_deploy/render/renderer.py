"""A plan at work: jobs, how they are cut, and their results. `Upscaler` is its public face."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.errors import UnsupportedModelError
from clit_deploy.grid.cascade import Size, output_size
from clit_deploy.grid.geometry import Span
from clit_deploy.images.pixels import check_pixels
from clit_deploy.render.bilinear import bilinear_at
from clit_deploy.render.budget import (
    Forecast,
    choose,
    choose_points,
    held_memory,
    point_memory,
    with_memory_advice,
    working_memory,
)
from clit_deploy.render.coordinates import pixel_query
from clit_deploy.render.feature_tiles import FeatureTiles
from clit_deploy.render.layout import BATCHES, Job, Layout, PointLayout, layouts, tile_sides
from clit_deploy.render.points import PointScheduler
from clit_deploy.render.region import region_job
from clit_deploy.render.scheduler import Scheduler
from clit_deploy.system import memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import StageGrid
    from clit_deploy.images.decoded_image import ImageHeader
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.render.points import Queries
    from clit_deploy.render.region import Rectangle
    from clit_deploy.runtimes.protocols import Runtime


KEPT_TILE = 256
"""Largest side of a tile whose features are kept: a region should not encode much that it does not
show."""
FEW_TILES = 4
"""Tiles that a cache should hold: those around a corner."""


@dataclass(frozen=True)
class Rendering:
    """A job that is ready to be rendered: how it is cut, and the memory to expect."""

    job: Job
    forecast: Forecast[Layout]
    _scheduler: Scheduler
    tiles: FeatureTiles | None = None
    """Features that are kept between jobs, if any are."""

    @property
    def is_fastest(self) -> bool:
        """Whether memory allows the largest pieces that the work can be cut into."""
        limits = self._scheduler.runtime.work_limits
        fastest = layouts(self._scheduler.manifest, limits, self.job)[0]
        if self.tiles:
            fastest = dataclasses.replace(fastest, tile=self.tiles.side)
        return self.forecast.layout == fastest

    def bands(self) -> list[Span]:
        """The rows of the output on each row of tiles, counted from the top of the job's part."""
        top = self.job.part.rows.start
        rows = self._scheduler.tile_rows(self.job, self.forecast.layout.tile)
        return [Span(outputs.start - top, outputs.stop - top) for _, outputs in rows]

    def strips(
        self,
        image: NDArray[np.generic],
        progress: Callable[[float], None] | None = None,
        stop: Callable[[], None] | None = None,
        finished: int = 0,
    ) -> Iterator[NDArray[np.float32]]:
        """The job's part of the output from top to bottom, `[rows, W, 3]` at a time, not clipped.

        Args:
            image: `[h, w, 3]` of the job's size, of any type of `images.pixels`.
            progress: called with the part that is done, 0 to 1.
            stop: called before each chunk; it raises where the work is not wanted any more.
            finished: rows at the top that are left out, a whole number of strips.

        Raises:
            ClosedError: the renderer was closed in the meantime.
            NonFiniteError: a stage computed NaN or infinite values.
            DeviceMemoryError: out of device memory; the message says what would fit.
        """
        with with_memory_advice(self._scheduler, self.job, self.forecast):
            yield from self._scheduler.strips(
                image, self.job, self.forecast.layout, progress, self.tiles, stop, finished
            )

    def array(
        self,
        image: NDArray[np.generic],
        *,
        clip: bool = False,
        stop: Callable[[], None] | None = None,
    ) -> NDArray[np.float32]:
        """The job's part of the output, `[H, W, 3]`; arguments and errors are those of `strips`."""
        result = np.empty((*self.job.made, 3), np.float32)
        row = 0
        for strip in self.strips(image, stop=stop):
            out = result[row : row + len(strip)]
            np.clip(strip, 0, 1, out=out) if clip else np.copyto(out, strip)
            row += len(strip)
        return result


class Renderer:
    """A plan on a runtime, which it owns from now on: `close` closes the runtime too.

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
        self._points = PointScheduler(plan, self._scheduler)

    @property
    def closed(self) -> bool:
        """Whether runtime and graphs were released."""
        return self._scheduler.life.closed

    def close(self) -> None:
        """Wait for the work in progress, then release the runtime's threads and graphs."""
        if self._scheduler.close():
            self._points.close()
            self.runtime.close()

    def job(
        self,
        image: NDArray[np.generic],
        *,
        scale: float | None = None,
        size: Size | None = None,
    ) -> Job:
        """Check an image and the requested scale or size.

        Raises:
            ImageError: the array is not an image.
            SizeError: neither or both of scale and size, or one that these models cannot make.
        """
        check_pixels(image)
        return self.job_of((image.shape[0], image.shape[1]), scale=scale, size=size)

    def job_of(
        self,
        image: Size,
        *,
        scale: float | None = None,
        size: Size | None = None,
        region: Rectangle | None = None,
    ) -> Job:
        """The same for an image of which only height and width are known yet, or for a region.

        Raises:
            SizeError: see `job`.
            CoordinateError: see `region_job`.
        """
        self._scheduler.life.check()
        if region is not None:
            return region_job(image, region, scale=scale, size=size)
        return Job(image, *output_size(image, scale, size))

    def prepare(
        self,
        job: Job,
        *,
        held_per_pixel: int = 0,
        header: ImageHeader | None = None,
        layout: Layout | None = None,
        planes: int = 1,
        tiles: FeatureTiles | None = None,
    ) -> Rendering:
        """Load the graphs of a job and decide how to cut it.

        Args:
            job: what to render.
            held_per_pixel: bytes of output that stay in memory until the end, per output pixel.
            header: of the image, if it is still to be decoded.
            layout: how to cut the job; None chooses what fits.
            planes: how many images of this size are rendered side by side: 2 with transparency.
            tiles: features that are kept between jobs; None encodes what this one needs.

        Raises:
            MemoryBudgetError: it does not fit into the memory allowed.
        """
        scheduler = self._scheduler
        scheduler.open_stages(job)
        layout = layout or self._layout
        held = held_memory(job, held_per_pixel, header) + (tiles.room if tiles else 0)
        if layout:
            if tiles:
                layout = dataclasses.replace(layout, tile=tiles.side)
            need = working_memory(scheduler, job, layout, planes, one_tile=tiles is not None)
            forecast = Forecast(layout, held + need)
        else:
            forecast = choose(
                scheduler,
                job,
                self.max_memory,
                held,
                streamed=held_per_pixel == 0,
                tile=tiles.side if tiles else None,
                planes=planes,
            )
        if header:
            decoding = memory.resident() + header.decoding_bytes
            forecast = dataclasses.replace(forecast, peak=max(forecast.peak, decoding))
        return Rendering(job, forecast, scheduler, tiles)

    def tiles(self, size: Size, cache: int, *, half: bool = False) -> FeatureTiles:
        """The features of an image, to be computed when they are first read.

        Args:
            size: height and width of the image; its pixels come later.
            cache: bytes of features to keep.
            half: keep them as float16.

        Raises:
            OptionError: the cache does not hold one tile.
        """
        scheduler = self._scheduler
        sides = tile_sides(scheduler.manifest, scheduler.runtime.work_limits, size)
        several = [side for side in sides if side <= KEPT_TILE] or sides[-1:]
        for side in several:
            found = FeatureTiles(
                scheduler.encoder, size, side, cache,
                half=half, life=scheduler.life, arrays=self.runtime.arrays,
            )  # fmt: skip
            if found.tile_bytes * FEW_TILES <= cache:
                break
        found.check_budget()
        return found

    def leanest(self, job: Job) -> Layout:
        """The way to cut a job that encodes the fewest pixels outside the job's part."""
        scheduler = self._scheduler
        ways = layouts(scheduler.manifest, scheduler.runtime.work_limits, job)
        return min(ways, key=lambda layout: scheduler.encoded_pixels(job, layout))

    def stage_grids(self, job: Job) -> list[StageGrid]:
        """The grids of the stages that a job runs."""
        return self._scheduler.stage_grids(job)

    def point_forecast(self, job: Job, held: int = 0) -> Forecast[PointLayout]:
        """How single queries are cut, with `held` more bytes in use, and the memory to expect.

        Raises:
            MemoryBudgetError: they do not fit into the memory allowed.
        """
        if self._layout:
            layout = PointLayout(self._layout.tile, BATCHES[0])
            need = point_memory(self._scheduler, job, layout)
            return Forecast(layout, held + memory.resident() + need)
        return choose_points(self._scheduler, job, self.max_memory, held)

    def answer(
        self,
        image: NDArray[np.generic],
        job: Job,
        queries: Queries,
        progress: Callable[[float], None] | None = None,
        tiles: FeatureTiles | None = None,
    ) -> NDArray[np.float32]:
        """The colors at single points of an image, float32 `[q, 3]`; the job decides the cascade.

        Raises:
            ClosedError, NonFiniteError: see `Rendering.strips`.
            MemoryBudgetError: see `point_forecast`.
        """
        self._scheduler.life.check()
        layout = self.point_forecast(job, held=12 * len(queries.at)).layout
        rgb = self._points.residuals(image, job, queries, layout, progress, tiles)
        return rgb + bilinear_at(image, queries.at) if self.plan.manifest.bilinear_base else rgb

    def attention(
        self,
        image: NDArray[np.generic],
        job: Job,
        at: tuple[int, int],
        tiles: FeatureTiles | None = None,
    ) -> list[NDArray[np.float32]]:
        """The attention of one output pixel, by stage; see `Upscaler.attention`.

        Raises:
            UnsupportedModelError: the plan's model has no attention.
            CoordinateError: `at` is outside the output.
        """
        query = self.attention_query(job, at)
        layout = self.point_forecast(job).layout
        return self._points.attention(image, job, query, layout, tiles)

    def attention_query(self, job: Job, at: tuple[int, int]) -> Queries:
        """The query of one output pixel, of a plan that has attention.

        Raises:
            UnsupportedModelError, CoordinateError: see `attention`.
        """
        self._scheduler.life.check()
        manifest = self.plan.manifest
        if any(stage.attention is None for stage in manifest.stages):
            raise UnsupportedModelError(
                f"{self.plan.name} holds a model of family {manifest.family!r}, which has no "
                "attention to show."
            )
        return pixel_query(at, job.size, job.output)
