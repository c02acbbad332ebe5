"""Memory: predict the peak of a job before it runs, cut the work so that it fits, and suggest what
would fit when a device runs out of memory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from clit_deploy.config import show_bytes
from clit_deploy.errors import DeviceMemoryError, MemoryBudgetError
from clit_deploy.grid.cascade import Size, grids
from clit_deploy.render.layout import (
    PATCH,
    Layout,
    PointLayout,
    cells_at_once,
    layouts,
    point_layouts,
)
from clit_deploy.system import memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from clit_deploy.grid.tiling import Tile
    from clit_deploy.images.decoded_image import ImageHeader
    from clit_deploy.plan.manifest import Manifest
    from clit_deploy.render.layout import Job
    from clit_deploy.render.scheduler import Scheduler
    from clit_deploy.runtimes.protocols import WorkLimits

log = logging.getLogger(__name__)

AnyLayout = TypeVar("AnyLayout", Layout, PointLayout)

SLACK = 32_000_000
"""Bytes that first runs take in addition to tensors: packed weights, buffers, Python itself."""


@dataclass(frozen=True)
class Forecast(Generic[AnyLayout]):
    """A way to cut the work, and the most memory the process is expected to hold."""

    layout: AnyLayout
    peak: int


def choose(
    scheduler: Scheduler,
    job: Job,
    allowed: int | None,
    held: int,
    *,
    streamed: bool = False,
    tile: int | None = None,
    planes: int = 1,
) -> Forecast[Layout]:
    """The largest tile and block whose predicted peak fits.

    Args:
        scheduler: with the job's graphs loaded, so that the process already holds them.
        job: what to render.
        allowed: bytes that the process may hold; None takes what the machine has available.
        held: bytes that the process holds all the time.
        streamed: no part of the output stays in memory.
        tile: the side of tiles that are encoded one by one; None encodes rows of them.
        planes: how many images of this size are rendered side by side.

    Raises:
        MemoryBudgetError: not even the smallest cut fits; the message says what it needs.
    """
    one_tile = tile is not None
    ways = (
        Forecast(layout, held + working_memory(scheduler, job, layout, planes, one_tile=one_tile))
        for layout in layouts(scheduler.manifest, scheduler.runtime.work_limits, job)
        if layout.tile == tile or not one_tile
    )
    return _first_that_fits(
        ways,
        allowed,
        f"An output of {job.made[1]}x{job.made[0]} pixels",
        f"request a smaller output{', or write a PNG, which is streamed' * (not streamed)}",
    )


def held_memory(job: Job, held_per_pixel: int, header: ImageHeader | None = None) -> int:
    """Bytes that the process holds all the time.

    Args:
        job: what to render.
        held_per_pixel: bytes of output that stay in memory until the end, per output pixel.
        header: of the image, if it is still to be decoded.
    """
    decoded = header.decoded_bytes if header else 0
    return memory.resident() + decoded + job.made[0] * job.made[1] * held_per_pixel


def choose_points(
    scheduler: Scheduler, job: Job, allowed: int | None, held: int
) -> Forecast[PointLayout]:
    """The largest tile and batch of single queries whose predicted peak fits; see `choose`.

    The job's output matters only for the stages that it needs; `held` is in bytes.
    """
    held += memory.resident()
    ways = (
        Forecast(layout, held + point_memory(scheduler, job, layout))
        for layout in point_layouts(scheduler.manifest, scheduler.runtime.work_limits, job)
    )
    size = f"{job.size[1]}x{job.size[0]}"
    return _first_that_fits(
        ways, allowed, f"Querying an image of {size} pixels", "use a smaller image"
    )


def _first_that_fits(
    ways: Iterable[Forecast[AnyLayout]], allowed: int | None, what: str, repair: str
) -> Forecast[AnyLayout]:
    limit = memory.limit(allowed)
    least: int | None = None
    for way in ways:
        if limit is None or way.peak <= limit:
            log.info("%s, peak %s", way.layout, show_bytes(way.peak))
            return way
        least = way.peak if least is None else min(least, way.peak)
    raise MemoryBudgetError(
        f"{what} needs about {show_bytes(least or 0)} of memory with the smallest tiles; "
        f"{show_bytes(limit or 0)} is {'allowed' if limit == allowed else 'available'}. "
        f"Allow more, or {repair}."
    )


def working_memory(
    scheduler: Scheduler, job: Job, layout: Layout, planes: int = 1, *, one_tile: bool = False
) -> int:
    """Bytes that rendering with `layout` takes in addition to what the process already holds.

    Args:
        scheduler: with the job's graphs loaded.
        job: what to render.
        layout: how to cut it.
        planes: how many images of this size are rendered side by side; each holds its own strip,
            and its own features of a row of tiles.
        one_tile: features are encoded tile by tile instead of a row of tiles at once.
    """
    strip = (2 + planes) * min(layout.block, job.made[0]) * job.made[1] * 3 * 4
    if in_device(scheduler):
        return SLACK + strip * 11 // 10
    decoding = max(_stages(scheduler.manifest, job, layout, scheduler.runtime.work_limits))
    if one_tile:
        encoding = _one_tile(scheduler, job, layout)
    else:
        encoding = _encoding(scheduler, job, layout.tile)
        encoding += (planes - 1) * _features(scheduler, job, layout.tile)
    # Freed memory stays with the allocators, so the parts add up.
    return SLACK + (encoding + strip + decoding) * 11 // 10


def point_memory(scheduler: Scheduler, job: Job, layout: PointLayout) -> int:
    """The same for single queries."""
    if in_device(scheduler):
        return SLACK
    needs = []
    for info in scheduler.manifest.stages[: job.depth(scheduler.manifest)]:
        side = PATCH + info.before + info.after + 2
        needs.append(side * side * info.project_bytes + layout.batch * info.point_bytes)
    return SLACK + (_encoding(scheduler, job, layout.tile) + max(needs)) * 11 // 10


def device_memory(scheduler: Scheduler, job: Job, layout: Layout) -> int:
    """The fewest bytes of tensors that a device has to hold: chunks are halved until they fit."""
    work_limits = dataclasses.replace(scheduler.runtime.work_limits, chunk_factor=1)
    decoding = max(_stages(scheduler.manifest, job, layout, work_limits))
    # Pieces of a pool are up to a quarter larger than what they hold.
    return (_encoding(scheduler, job, layout.tile) + decoding) * 5 // 4


def in_device(scheduler: Scheduler) -> bool:
    """Whether tensors are in a device's dedicated memory."""
    return (
        bool(scheduler.runtime.work_limits.cell_classes)
        and scheduler.runtime.work_limits.dedicated_memory
    )


def _encoding(scheduler: Scheduler, job: Job, tile: int) -> int:
    """A tile in the encoder, and the features of a row of tiles."""
    rows, width = _tile_rows(scheduler, job, tile)
    pixels = len(rows[0].seen) * min(tile, width)
    return _features(scheduler, job, tile) + pixels * scheduler.encoder.info.bytes_per_pixel


def _features(scheduler: Scheduler, job: Job, tile: int) -> int:
    """The features of a row of tiles."""
    rows, width = _tile_rows(scheduler, job, tile)
    return max(len(row.valid) for row in rows) * width * scheduler.encoder.info.channels * 4


def _tile_rows(scheduler: Scheduler, job: Job, tile: int) -> tuple[list[Tile], int]:
    """The tiles along the height, and the width that is encoded."""
    height, width = scheduler.encoder.padded_size(job.size)
    return scheduler.encoder.tiles(height, tile, scheduler.manifest.margin), width


def _one_tile(scheduler: Scheduler, job: Job, layout: Layout) -> int:
    """A tile in the encoder, and the features that a block of the output reads."""
    info = scheduler.encoder.info
    rows, cols = (
        min(_cells(layout.block, side, out) + 2 * scheduler.manifest.margin, side)
        for side, out in zip(job.size, job.whole, strict=True)
    )
    return rows * cols * info.channels * 4 + layout.tile**2 * info.bytes_per_pixel


def _stages(manifest: Manifest, job: Job, layout: Layout, work_limits: WorkLimits) -> list[int]:
    found = []
    for info, grid in zip(
        manifest.stages, grids(job.size, job.whole, job.scale, len(manifest.stages)), strict=False
    ):
        sides = [_cells(layout.block, g, o) for g, o in zip(grid, job.whole, strict=True)]
        n = _slots(grid, job.whole, layout.block)
        total = sides[0] * sides[1]
        cells = min(cells_at_once(info, n, work_limits), -(-total // work_limits.workers))
        chunk = cells * (info.cell_bytes + n * info.query_bytes)
        reach = info.before + info.after
        maps = (sides[0] + reach) * (sides[1] + reach) * info.project_bytes
        found.append(maps + work_limits.workers * chunk)
    return found


def _cells(block: int, grid: int, out: int) -> int:
    return min(-(-block * grid // out) + 1, grid + 1)


def _slots(grid: Size, output: Size, block: int) -> int:
    rows, cols = (min(-(-o // g), block) for g, o in zip(grid, output, strict=True))
    return rows * cols


@contextlib.contextmanager
def with_memory_advice(
    scheduler: Scheduler, job: Job, forecast: Forecast[Layout]
) -> Iterator[None]:
    """Add to an out-of-memory error of a device how the work would have to be cut.

    Raises:
        DeviceMemoryError: the error from inside, with that sentence.
    """
    try:
        yield
    except DeviceMemoryError as error:
        if error.room is None:
            raise
        advice = _advice(scheduler, job, forecast, error.room)
        raise DeviceMemoryError(f"{error} {advice}", error.room) from error


def _advice(scheduler: Scheduler, job: Job, forecast: Forecast[Layout], room: int) -> str:
    if in_device(scheduler) and scheduler.runtime.work_limits.max_tile is None:  # no engines
        return "Use --runtime cpu."
    fits = _that_fits(scheduler, job, forecast.layout, room)
    if fits is None:
        return "Not even the smallest tiles are expected to fit."
    if in_device(scheduler):
        return f"What should fit: clit-deploy build --tile {fits.tile} --chunk 1."
    now, then = (working_memory(scheduler, job, way) for way in (forecast.layout, fits))
    return f"What should fit: --max-memory {math.ceil((forecast.peak - now + then) / 1e6)}MB."


def _that_fits(scheduler: Scheduler, job: Job, tried: Layout, room: int) -> Layout | None:
    """The first smaller way to cut the job that fits. A device with dedicated memory keeps the
    blocks that its engines were built for."""
    ways = layouts(scheduler.manifest, scheduler.runtime.work_limits, job)
    smaller = ways[ways.index(tried) + 1 :] if tried in ways else ways
    for way in smaller:
        kept = way.block == tried.block or not in_device(scheduler)
        if kept and device_memory(scheduler, job, way) <= room:
            return way
    return None
