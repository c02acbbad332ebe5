"""The Python interface: open a plan, upscale arrays."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.config import parse_bytes
from clit_deploy.engines.select import choose_runtime
from clit_deploy.errors import ImageError, RuntimeUnavailableError, UnsupportedModelError
from clit_deploy.grid.cascade import Size, output_size
from clit_deploy.plan.plan_file import Plan
from clit_deploy.render.budget import (
    BATCHES,
    Forecast,
    choose,
    choose_points,
    point_memory,
    working_memory,
)
from clit_deploy.render.coordinates import output_of, pixel_query, queries_of
from clit_deploy.render.points import PointScheduler, bilinear_at
from clit_deploy.render.scheduler import Job, Layout, Scheduler
from clit_deploy.render.shortage import with_memory_advice
from clit_deploy.system import memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import StageGrid
    from clit_deploy.render.points import Queries
    from clit_deploy.runtimes.protocols import Runtime

log = logging.getLogger(__name__)

DEFAULT = Path(__file__).parent / "default" / "clit-default.plan"

LARGEST_VALUE = 2.0
"""Float images may overshoot white a little; 255 is another convention."""

MOST_THREADS = 256
"""Each thread keeps a chunk in memory; more than any board or desktop has is a slip."""


def load(
    plan: str | Path | Plan | None = None,
    *,
    runtime: str = "auto",
    threads: int | None = None,
    max_memory: str | int | None = None,
    rebuild: bool = True,
) -> Upscaler:
    """Open a plan; use the result in a `with` statement, or close it.

    Args:
        plan: the `.plan` file; None for the model that ships with the package.
        runtime: `cpu`, `cuda`, `tensorrt`, `tensorrt-rtx`, or `auto` for the best that is present.
        threads: processors to use; by default all that this process may use.
        max_memory: bytes that the process may hold, a number or like `2GB`.
        rebuild: build engines where those of the plan are missing or for another device.

    Raises:
        MissingFileError, PlanError: the plan cannot be read.
        RuntimeUnavailableError: the runtime is unknown or not present.
        EngineError, BuildError: engines that do not fit and may not or cannot be rebuilt.
        MemoryBudgetError: `max_memory` is no size.
    """
    return Upscaler(plan, runtime=runtime, threads=threads, max_memory=max_memory, rebuild=rebuild)


class Upscaler:
    """A plan on a runtime. See `load`; `layout` overrides the choice of tile and block, and
    `runtime` may be one that is open already."""

    def __init__(
        self,
        plan: str | Path | Plan | None = None,
        *,
        runtime: str | Runtime = "auto",
        threads: int | None = None,
        max_memory: str | int | None = None,
        layout: Layout | None = None,
        rebuild: bool = True,
    ) -> None:
        if threads is not None and not 1 <= threads <= MOST_THREADS:
            raise RuntimeUnavailableError(
                f"threads is {threads}; a number from 1 to {MOST_THREADS} is needed."
            )
        opened = plan if isinstance(plan, Plan) else Plan.open(plan or default_plan())
        self.max_memory = None if max_memory is None else parse_bytes(max_memory)
        if self.max_memory is not None:
            memory.return_freed_blocks()
        self.layout = layout
        if isinstance(runtime, str):
            opened, runtime = choose_runtime(opened, runtime, threads=threads, rebuild=rebuild)
        self.plan, self.runtime = opened, runtime
        self._scheduler = Scheduler(self.plan, self.runtime)
        self._point_scheduler: PointScheduler | None = None
        self._closed = False

    def __enter__(self) -> Upscaler:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the runtime's threads and graphs."""
        self._closed = True
        self._point_scheduler = None
        self._scheduler.close()
        self.runtime.close()

    def upscale(
        self,
        image: NDArray[np.generic],
        *,
        scale: float | None = None,
        size: Size | None = None,
        clip: bool = True,
    ) -> NDArray[np.float32]:
        """Upscale one image.

        Args:
            image: uint8, uint16 or float32 (0 to 1), `[h, w, 3]`.
            scale: factor of both sides, at least 1; or
            size: height and width of the output.
            clip: cut the result to 0..1.

        Returns: float32 `[H, W, 3]`, 0 to 1 if clipped.

        Raises:
            ImageError: another shape or type, or values that are not finite.
            SizeError: a scale or size that makes no sense.
            MemoryBudgetError: it does not fit into the memory allowed.
        """
        job = self.job(image, scale=scale, size=size)
        forecast = self.forecast(job, held_per_pixel=12)
        result = np.empty((*job.output, 3), np.float32)
        row = 0
        for strip in self.strips(job, forecast):
            out = result[row : row + len(strip)]
            np.clip(strip, 0, 1, out=out) if clip else np.copyto(out, strip)
            row += len(strip)
        return result

    def query(
        self,
        image: NDArray[np.generic],
        coords: NDArray[np.float64],
        cell: NDArray[np.float64] | None = None,
        *,
        scale: float | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> NDArray[np.float32]:
        """The image's colours at any coordinates, straight from the network.

        Args:
            image: uint8, uint16 or float32 (0 to 1), `[h, w, 3]`.
            coords: float64 `[q, 2]`, row and column; -1 and 1 are the image's edges.
            cell: height and width of the pixels that are answered, in the same units, `[2]` or
                `[q, 2]`; by default the spacing where `coords` are a regular grid, otherwise a
                quarter of an image pixel.
            scale: decides how many stages of a cascade run; by default what `cell` comes to.
            progress: is told the part that is done.

        Returns: float32 `[q, 3]`, not clipped; on the centres of a grid what `upscale` gives.

        Raises:
            ImageError: the image has another shape or type, or values that are not finite.
            CoordinateError: coordinates or cells of another shape, outside their range, or NaN.
            SizeError: a scale that makes no sense.
            MemoryBudgetError: it does not fit into the memory allowed.
        """
        pixels = unit_range(image)
        height, width, _ = pixels.shape
        queries = queries_of(coords, cell, (height, width))
        output, ratio = output_of(queries, (height, width), scale)
        return self.answer(Job(pixels, output, ratio), queries, progress)

    def answer(
        self, job: Job, queries: Queries, progress: Callable[[float], None] | None = None
    ) -> NDArray[np.float32]:
        """The colours at places of a job's image, `[q, 3]`; its output decides the cascade."""
        self._checked(job)
        layout = self.point_forecast(job, held=12 * len(queries.at)).layout
        rgb = self._points().residuals(job, queries, layout, progress)
        return rgb + bilinear_at(job.image, queries.at) if self.plan.manifest.bilinear_base else rgb

    def attention(
        self,
        image: NDArray[np.generic],
        at: tuple[int, int],
        *,
        scale: float | None = None,
        size: Size | None = None,
    ) -> list[NDArray[np.float32]]:
        """Where one output pixel looks: the attention of every head, for every stage that runs.

        Args:
            image: uint8, uint16 or float32 (0 to 1), `[h, w, 3]`.
            at: row and column of the output pixel.
            scale: factor of both sides, at least 1; or
            size: height and width of the output.

        Returns: a list of `[heads, 2r + 1, 2r + 1]` (rows, columns of the window on the stage's
            grid), each of which sums to 1.

        Raises:
            UnsupportedModelError: the plan's model has no attention.
            CoordinateError: `at` is outside the output.
        """
        manifest = self.plan.manifest
        if any(stage.attention is None for stage in manifest.stages):
            raise UnsupportedModelError(
                f"{self.plan.name} holds a model of family {manifest.family!r}, which has no "
                "attention to show."
            )
        job = self.job(image, scale=scale, size=size)
        queries = pixel_query(at, job.size, job.output)
        return self._points().attention(job, queries, self.point_forecast(job).layout)

    def point_forecast(self, job: Job, held: int = 0) -> Forecast:
        """How single queries are going to be cut, with `held` bytes beside, and the peak."""
        if self.layout:
            layout = Layout(self.layout.tile, BATCHES[0])
            need = point_memory(self._scheduler, job, layout)
            return Forecast(layout, held + memory.resident() + need)
        return choose_points(self._scheduler, job, self.max_memory, held)

    def stage_grids(self, job: Job) -> list[StageGrid]:
        """The grids of the stages that a job runs."""
        return self._scheduler.stage_grids(job)

    def _points(self) -> PointScheduler:
        if self._point_scheduler is None:
            self._point_scheduler = PointScheduler(self.plan, self._scheduler)
        return self._point_scheduler

    def job(
        self, image: NDArray[np.generic], *, scale: float | None = None, size: Size | None = None
    ) -> Job:
        """Check an image and a wish; what `forecast` and `strips` work on."""
        pixels = unit_range(image)
        output, ratio = output_size((pixels.shape[0], pixels.shape[1]), scale, size)
        return self._checked(Job(pixels, output, ratio))

    def _checked(self, job: Job) -> Job:
        if self._closed:
            raise RuntimeUnavailableError("This upscaler is closed; load the plan again.")
        return job

    def forecast(self, job: Job, *, held_per_pixel: int = 0) -> Forecast:
        """How the work is going to be cut, and the peak of memory to expect."""
        self._scheduler.open_stages(job)
        if self.layout:
            held = job.output[0] * job.output[1] * held_per_pixel + memory.resident()
            return Forecast(self.layout, held + working_memory(self._scheduler, job, self.layout))
        return choose(self._scheduler, job, self.max_memory, held_per_pixel)

    def strips(
        self, job: Job, forecast: Forecast, progress: Callable[[float], None] | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """The output from top to bottom, `[rows, W, 3]` at a time, not clipped."""
        with with_memory_advice(self._scheduler, job, forecast):
            yield from self._scheduler.strips(job, forecast.layout, progress)


def default_plan() -> Path:
    """The plan that ships with the package; that it is used is said once."""
    global _said
    if not _said:
        log.warning("no plan is named, so the default model is used (%s)", DEFAULT.name)
        _said = True
    return DEFAULT


_said = False


def unit_range(image: NDArray[np.generic]) -> NDArray[np.float32]:
    """uint8, uint16 or float `[h, w, 3]` -> float32, 0 to 1.

    Raises:
        ImageError: another shape or type, or values that are not finite.
    """
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3:
        shape = getattr(image, "shape", type(image).__name__)
        raise ImageError(f"The image is {shape}; an array [height, width, 3] is needed.")
    if 0 in image.shape:
        raise ImageError(f"The image is empty: {image.shape[1]}x{image.shape[0]} pixels.")
    if image.dtype in (np.uint8, np.uint16):
        largest = 255 if image.dtype == np.uint8 else 65535
        unit: NDArray[np.float32] = np.divide(image, largest, dtype=np.float32)
        return unit
    if not np.issubdtype(image.dtype, np.floating):
        raise ImageError(f"The image is of type {image.dtype}; use uint8, uint16 or float32.")
    pixels = np.ascontiguousarray(image, np.float32)
    if not np.isfinite(pixels).all():
        raise ImageError("The image holds NaN or infinite values.")
    if pixels.max() > LARGEST_VALUE:
        raise ImageError(
            f"The image is of type {image.dtype} and reaches {pixels.max():g}; floats are 0 to 1, "
            "so divide it by its white."
        )
    return pixels
