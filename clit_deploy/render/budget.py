"""Memory: predict the peak of a job before it runs, and cut the work so that it fits."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clit_deploy.config import show_bytes
from clit_deploy.errors import MemoryBudgetError
from clit_deploy.grid.cascade import BASE, Size, grids
from clit_deploy.grid.tiling import smallest
from clit_deploy.render.points import PATCH
from clit_deploy.render.scheduler import Layout
from clit_deploy.render.stage import cells_at_once
from clit_deploy.system import memory

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clit_deploy.plan.manifest import Manifest
    from clit_deploy.render.scheduler import Job, Scheduler
    from clit_deploy.runtimes.protocols import WorkLimits

log = logging.getLogger(__name__)

TILES = (512, 384, 320, 256, 192, 160, 128, 96, 64, 48, 32, 24, 16)
BLOCKS = (256, 128, 64)
BATCHES = (2048, 1024, 512, 256, 128, 64)
"""Single queries at a time."""
LARGEST_CELL = 64
"""Queries of a cell along one axis, at most: smaller blocks keep a cell from growing past it."""

SLACK = 32_000_000
"""Bytes that first runs take beside their tensors: packed weights, buffers, Python itself."""


@dataclass(frozen=True)
class Forecast:
    """A way to cut the work, and the most memory the process is expected to hold."""

    layout: Layout
    peak: int


def choose(scheduler: Scheduler, job: Job, allowed: int | None, held_per_pixel: int) -> Forecast:
    """The largest tile and block whose predicted peak fits.

    Args:
        scheduler: with the job's graphs loaded, so that the process already holds them.
        job: what is to be rendered.
        allowed: bytes that the process may hold; None takes what the machine has available.
        held_per_pixel: bytes of output that stay in memory until the end, per output pixel.

    Raises:
        MemoryBudgetError: not even the smallest cut fits; the message has the number needed.
    """
    held = job.output[0] * job.output[1] * held_per_pixel + memory.resident()
    ways = (
        Forecast(layout, held + working_memory(scheduler, job, layout))
        for layout in layouts(scheduler, job)
    )
    return _first_that_fits(
        ways,
        allowed,
        f"An output of {job.output[1]}x{job.output[0]} pixels",
        f"ask for a smaller output{', or write a PNG, which is streamed' * bool(held_per_pixel)}",
    )


def choose_points(scheduler: Scheduler, job: Job, allowed: int | None, held: int) -> Forecast:
    """The largest tile and batch of single queries whose predicted peak fits; see `choose`.

    The job's output matters only for the stages that it asks for; `held` is bytes.
    """
    held += memory.resident()
    sides = dict.fromkeys(layout.tile for layout in layouts(scheduler, job))
    ways = (
        Forecast(Layout(tile, batch), held + point_memory(scheduler, job, Layout(tile, batch)))
        for batch, tile in itertools.product(BATCHES, sides)
    )
    size = f"{job.size[1]}x{job.size[0]}"
    return _first_that_fits(
        ways, allowed, f"Querying a picture of {size}", "take a smaller picture"
    )


def _first_that_fits(
    ways: Iterable[Forecast], allowed: int | None, what: str, repair: str
) -> Forecast:
    now, free = memory.resident(), memory.available()
    limits = [allowed, None if free is None else now + free]
    limit = min((known for known in limits if known is not None), default=None)
    least: int | None = None
    for way in ways:
        if limit is None or way.peak <= limit:
            log.info("tile %d, block %d, peak %s", *_shown(way))
            return way
        least = way.peak if least is None else min(least, way.peak)
    raise MemoryBudgetError(
        f"{what} needs about {show_bytes(least or 0)} with the smallest tiles; "
        f"{show_bytes(limit or 0)} is {'allowed' if limit == allowed else 'available'}. "
        f"Allow more, or {repair}."
    )


def _shown(way: Forecast) -> tuple[int, int, str]:
    return way.layout.tile, way.layout.block, show_bytes(way.peak)


def layouts(scheduler: Scheduler, job: Job) -> list[Layout]:
    """Ways to cut the job, from the fastest to the smallest."""
    info = scheduler.encoder.info
    least = smallest(info.halo, scheduler.manifest.margin, info.multiple)
    longest = max(scheduler.encoder.padded_size(job.size))
    work_limits = scheduler.runtime.work_limits
    sides = [side for side in TILES if side >= least and side % info.multiple == 0] or [least]
    if work_limits.max_tile:
        sides = [side for side in [*sides, work_limits.max_tile] if side <= work_limits.max_tile]
    sides = sorted({min(side, max(longest, least)) for side in [*sides, least]}, reverse=True)
    ratios = [out / side for out, side in zip(job.output, job.size, strict=True)]
    blocks = [side for side in BLOCKS if not work_limits.max_block or side <= work_limits.max_block]
    # Along an axis that grows less than the stages do, a block reads many features, and engines
    # for as many at its full size would need gigabytes.
    uneven = min(ratios) < BASE ** (scheduler.depth(job) - 1)
    if max(ratios) >= LARGEST_CELL or (work_limits.max_block and uneven):
        blocks = [LARGEST_CELL]
    return [Layout(tile, block) for block, tile in itertools.product(blocks, sides)]


def working_memory(scheduler: Scheduler, job: Job, layout: Layout) -> int:
    """Bytes that rendering with `layout` takes beside what the process holds already."""
    strip = 3 * min(layout.block, job.output[0]) * job.output[1] * 3 * 4
    if in_device(scheduler):
        return SLACK + strip * 11 // 10
    decoding = max(_stages(scheduler.manifest, job, layout, scheduler.runtime.work_limits))
    # Freed memory stays with the allocators, so the parts add up.
    return SLACK + (_encoding(scheduler, job, layout.tile) + strip + decoding) * 11 // 10


def point_memory(scheduler: Scheduler, job: Job, layout: Layout) -> int:
    """The same for single queries, `layout.block` of them at a time."""
    if in_device(scheduler):
        return SLACK
    needs = []
    for info in scheduler.manifest.stages[: scheduler.depth(job)]:
        side = PATCH + info.before + info.after + 2
        needs.append(side * side * info.project_bytes + layout.block * info.point_bytes)
    return SLACK + (_encoding(scheduler, job, layout.tile) + max(needs)) * 11 // 10


def device_memory(scheduler: Scheduler, job: Job, layout: Layout) -> int:
    """Bytes of tensors that a device has to hold at least; its chunks are halved until they fit."""
    work_limits = dataclasses.replace(scheduler.runtime.work_limits, chunk_factor=1)
    decoding = max(_stages(scheduler.manifest, job, layout, work_limits))
    # Pieces of a pool are up to a quarter larger than what they hold.
    return (_encoding(scheduler, job, layout.tile) + decoding) * 5 // 4


def in_device(scheduler: Scheduler) -> bool:
    """Whether tensors are in a device's own memory."""
    return (
        bool(scheduler.runtime.work_limits.cell_classes)
        and scheduler.runtime.work_limits.dedicated_memory
    )


def _encoding(scheduler: Scheduler, job: Job, tile: int) -> int:
    """A tile in the encoder, and the features of a row of tiles."""
    info = scheduler.encoder.info
    height, width = scheduler.encoder.padded_size(job.size)
    rows = scheduler.encoder.tiles(height, tile, scheduler.manifest.margin)
    pixels = len(rows[0].seen) * min(tile, width)
    band = max(len(row.valid) for row in rows) * width * info.channels * 4
    return band + pixels * info.bytes_per_pixel


def _stages(manifest: Manifest, job: Job, layout: Layout, work_limits: WorkLimits) -> list[int]:
    found = []
    for info, grid in zip(
        manifest.stages, grids(job.size, job.output, job.scale, len(manifest.stages)), strict=False
    ):
        sides = [_cells(layout.block, g, o) for g, o in zip(grid, job.output, strict=True)]
        n = _slots(grid, job.output, layout.block)
        cells = min(cells_at_once(info, n, work_limits), sides[0] * sides[1])
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
