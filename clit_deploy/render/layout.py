"""How work is cut: jobs, tiles, blocks, batches and chunks."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clit_deploy.errors import EngineError
from clit_deploy.grid.cascade import MAX_STAGE_FACTOR, factors, whole_output
from clit_deploy.grid.geometry import Axis, Span
from clit_deploy.grid.tiling import round_up, smallest

if TYPE_CHECKING:
    from clit_deploy.grid.cascade import Regions, Size
    from clit_deploy.grid.geometry import GroupedOutputs
    from clit_deploy.plan.manifest import Manifest, StageInfo
    from clit_deploy.runtimes.protocols import WorkLimits

TILES = (512, 384, 320, 256, 192, 160, 128, 96, 64, 48, 32, 24, 16)
BLOCKS = (256, 128, 64)
BATCHES = (2048, 1024, 512, 256, 128, 64)
"""Single queries at a time."""
LARGEST_CELL = 64
"""Most queries of a cell along one axis; smaller blocks keep a cell from growing past it."""
PATCH = 64
"""Side of a patch of single queries in pixels of the finest grid: its maps take some ten
megabytes."""
LARGEST_FACTOR = 4
"""How many times as many cells as a plan states a CPU decodes at once with a small model of
attention. Its products take so little time that the hundred nodes around them cost more: with 48
and 64 channels larger chunks are 15 to 40 percent faster, and no faster beyond this."""
WIDEST = 64
"""Columns of cells that a device decodes at once: a block of 256 output pixels at x4."""


@dataclass(frozen=True)
class Block:
    """A rectangle of the output."""

    rows: Span
    cols: Span

    @property
    def size(self) -> Size:
        """Its height and width."""
        return len(self.rows), len(self.cols)


@dataclass(frozen=True)
class Job:
    """From one image size to one output size; the pixels come later."""

    size: Size
    """Height and width of the input."""
    output: Size
    """Height and width of the output."""
    scale: float
    """Decides how many stages of a cascade run."""
    window: Block | None = None
    """The part of the output that is rendered; None is all of it."""
    regions: Regions | None = None
    """The part of the image that the output shows; None is all of it."""

    @property
    def axes(self) -> tuple[Axis, Axis]:
        """Output pixels over image pixels: rows, then columns."""
        rows, cols = self.regions or (None, None)
        return (
            Axis(self.size[0], self.output[0], region=rows),
            Axis(self.size[1], self.output[1], region=cols),
        )

    @property
    def whole(self) -> Size:
        """Height and width of the output if it showed the whole image."""
        return whole_output(self.size, self.output, self.regions)

    @property
    def part(self) -> Block:
        """The part of the output that is rendered."""
        return self.window or Block(Span(0, self.output[0]), Span(0, self.output[1]))

    @property
    def made(self) -> Size:
        """Height and width of that part."""
        return self.part.size

    def depth(self, manifest: Manifest) -> int:
        """How many stages of a plan the job runs."""
        return len(factors(self.scale, len(manifest.stages)))


@dataclass(frozen=True)
class Layout:
    """How an output is cut: the side of an encoder tile and of a block of the output, in pixels."""

    tile: int
    block: int


@dataclass(frozen=True)
class PointLayout:
    """How single queries are cut: the side of an encoder tile in pixels, and queries at a time."""

    tile: int
    batch: int


def layouts(manifest: Manifest, limits: WorkLimits, job: Job) -> list[Layout]:
    """Ways to cut the job, from the fastest to the smallest."""
    sides = tile_sides(manifest, limits, job.size)
    ratios = [out / side for out, side in zip(job.whole, job.size, strict=True)]
    blocks = [side for side in BLOCKS if not limits.max_block or side <= limits.max_block]
    # Along an axis that grows less than the stages do, a block reads many features; engines for
    # that many at the full block size would need gigabytes.
    uneven = min(ratios) < MAX_STAGE_FACTOR ** (job.depth(manifest) - 1)
    if max(ratios) >= LARGEST_CELL or (limits.max_block and uneven):
        blocks = [LARGEST_CELL]
    return [Layout(tile, block) for block, tile in itertools.product(blocks, sides)]


def tile_sides(manifest: Manifest, limits: WorkLimits, image: Size) -> list[int]:
    """Sides of encoder tiles that suit an image of this size, largest first."""
    multiple = manifest.encoder.multiple
    least = smallest(manifest.encoder.halo, manifest.margin, multiple)
    longest = max(round_up(side, multiple) for side in image)
    sides = [side for side in TILES if side >= least and side % multiple == 0] or [least]
    if limits.max_tile:
        sides = [side for side in [*sides, limits.max_tile] if side <= limits.max_tile]
    return sorted({min(side, max(longest, least)) for side in [*sides, least]}, reverse=True)


def point_layouts(manifest: Manifest, limits: WorkLimits, job: Job) -> list[PointLayout]:
    """Ways to cut single queries, from the fastest to the smallest."""
    sides = dict.fromkeys(layout.tile for layout in layouts(manifest, limits, job))
    return [PointLayout(tile, batch) for batch, tile in itertools.product(BATCHES, sides)]


def cells_at_once(info: StageInfo, n: int, limits: WorkLimits) -> int:
    """The best number of cells of `n` queries to decode at once: as many as the cache or the device
    holds, and more with a small model on a CPU."""
    factor = max(limits.chunk_factor, _small_model_factor(info, limits.chunk_bytes))
    return min(max(info.chunk_queries * factor // n, 1), info.chunk_cells * factor)


def _small_model_factor(info: StageInfo, chunk_bytes: float) -> int:
    if info.attention is None:
        return 1
    stated = info.chunk_cells * info.cell_bytes + info.chunk_queries * info.query_bytes
    return min(int(chunk_bytes / stated), LARGEST_FACTOR)


def chunk_shape(
    info: StageInfo, rows: GroupedOutputs, cols: GroupedOutputs, limits: WorkLimits
) -> Size:
    """Rows and columns of cells that decode at once.

    As many cells as the plan states for the cache, fewer if a cell has many queries or the block
    is too small to keep all workers busy. On a device, the shape of the class of cells.
    """
    if limits.cell_classes:
        return class_shape(info, side_class(max(rows.n, cols.n), limits), limits)
    total = len(rows.cells) * len(cols.cells)
    cells = cells_at_once(info, rows.n * cols.n, limits)
    cells = min(cells, -(-total // limits.workers))
    if len(cols.cells) >= cells:
        return 1, cells
    return max(cells // len(cols.cells), 1), len(cols.cells)


def side_class(side: int, limits: WorkLimits) -> int:
    """The class of a cell with up to `side` queries along an axis: the class's largest side.

    Raises:
        EngineError: no class is that large.
    """
    for limit in limits.cell_classes:
        if side <= limit:
            return limit
    raise EngineError(
        f"A cell has {side} queries along an axis; a device takes at most "
        f"{limits.cell_classes[-1]}. Use smaller blocks."
    )


def class_shape(info: StageInfo, side: int, limits: WorkLimits) -> Size:
    """Most rows and columns of cells of a class; the product is what the device takes at once."""
    cells = cells_at_once(info, side * side, limits)
    cols = min(WIDEST, cells)
    return cells // cols, cols
