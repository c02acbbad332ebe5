"""One stage on one block of the output: make the maps, decode them chunk by chunk."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.errors import DeviceMemoryError, EngineError
from clit_deploy.grid.geometry import GroupedOutputs, Span
from clit_deploy.render.pair_bias import PairBiasTable
from clit_deploy.system.phases import phase

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import Size, StageGrid
    from clit_deploy.plan.manifest import StageInfo
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.render.encoder import Features
    from clit_deploy.render.maps import MapMaker
    from clit_deploy.render.tables.family_tables import Feeds, Side, Tables
    from clit_deploy.runtimes.protocols import Array, Runtime, WorkLimits


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Block:
    """A rectangle of the output."""

    rows: Span
    cols: Span


@dataclass(frozen=True)
class _Part:
    """Some consecutive cells of one axis, with their tables."""

    cells: Span
    slots: GroupedOutputs
    feeds: Feeds


class Stage:
    """The graphs of one stage, bound to a runtime."""

    def __init__(self, maps: MapMaker, plan: Plan, runtime: Runtime, tables: Tables) -> None:
        self.info: StageInfo = maps.info
        self._tables = tables
        self._work_limits = runtime.work_limits
        self._arrays = runtime.arrays
        self._maps = maps
        self._name = f"stage{maps.index}"
        self._decode = runtime.runner(plan, self.info.decode, parallel=False)
        self._pairs: PairBiasTable | None = None
        if self.info.pairs:
            runner = runtime.runner(plan, self.info.pairs, parallel=False)
            self._pairs = PairBiasTable(runner, self._arrays)

    def render(
        self,
        features: Features,
        stage_grid: StageGrid,
        scale: float,
        block: Block,
        pool: Executor,
    ) -> NDArray[np.float32]:
        """What the stage adds to a block of the output, `[rows, cols, 3]`."""
        rows = GroupedOutputs.sort(stage_grid.over_grid[0], block.rows, self.info.anchor)
        cols = GroupedOutputs.sort(stage_grid.over_grid[1], block.cols, self.info.anchor)
        with phase(f"{self._name}.project"):
            maps = self._maps.make(features, stage_grid, rows.cells, cols.cells)
        size = self._tables.cell(rows, cols, scale)
        while True:
            try:
                return self._decoded(maps, rows, cols, size, pool)
            except DeviceMemoryError:
                self._eat_less()

    def _eat_less(self) -> None:
        """Halve the chunks; called while an error is handled, which goes on if nothing is left."""
        if self._work_limits.chunk_factor == 1:
            raise
        self._work_limits = dataclasses.replace(
            self._work_limits, chunk_factor=self._work_limits.chunk_factor // 2
        )
        log.warning("the device's memory is short: chunks of %s are halved", self.info.decode)

    def _decoded(
        self,
        maps: Array,
        rows: GroupedOutputs,
        cols: GroupedOutputs,
        size: NDArray[np.float32],
        pool: Executor,
    ) -> NDArray[np.float32]:
        """The block `rows x cols`, chunk by chunk."""
        shape = chunk_shape(self.info, rows, cols, self._work_limits)
        with phase(f"{self._name}.tables"):
            row_parts = self._parts("row", rows, shape[0])
            col_parts = self._parts("col", cols, shape[1])
        result = np.empty((len(rows.gather), len(cols.gather), 3), np.float32)

        def decode(chunk: tuple[_Part, _Part]) -> None:
            row, col = chunk
            feeds = {"maps": self._window(maps, row, col), "cell": size, **row.feeds, **col.feeds}
            if self._pairs:
                feeds.update(self._pairs.of_slots(row.slots, col.slots))
            rgb = self._arrays.host(self._decode.run(feeds))
            flat = rgb.reshape(rgb.shape[0] * rgb.shape[1], -1, 3)
            placed = _Placement.of(row, rows), _Placement.of(col, cols)
            result[placed[0].at, placed[1].at] = placed[0].pick(placed[1].pick(flat, 1), 0)

        with phase(f"{self._name}.decode"):
            list(pool.map(decode, itertools.product(row_parts, col_parts)))
        return result

    def _parts(self, side: Side, slots: GroupedOutputs, size: int) -> list[_Part]:
        parts = []
        for span in Span(0, len(slots.cells)).split(size):
            some = slots.take(span)
            if len(some.gather):
                parts.append(_Part(span, some, self._tables.axis(side, some)))
        return parts

    def _window(self, maps: Array, row: _Part, col: _Part) -> Array:
        """The maps of a chunk as the decoder takes them: `[window, rows, cols + window, ch]`."""
        reach = self.info.before + self.info.after
        cols = slice(col.cells.start, col.cells.stop + reach)
        shape = reach + 1, len(row.cells), len(col.cells) + reach, self.info.channels
        window = self._arrays.empty(shape, maps.dtype)
        for j in range(reach + 1):
            self._arrays.copy(window[j], maps[row.cells.start + j : row.cells.stop + j, cols])
        return window


@dataclass(frozen=True)
class _Placement:
    """Where the slots of a part go on one axis of the block."""

    at: slice
    gather: NDArray[np.int64] | None

    @classmethod
    def of(cls, part: _Part, whole: GroupedOutputs) -> _Placement:
        first = part.cells.start * whole.n
        start = int(np.searchsorted(whole.gather, first))
        count = len(part.slots.gather)
        every = count == part.slots.index.size
        return cls(slice(start, start + count), None if every else part.slots.gather)

    def pick(self, slots: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
        """Drop the slots that only repeat others."""
        return slots if self.gather is None else slots.take(self.gather, axis)


def cells_at_once(info: StageInfo, n: int, work_limits: WorkLimits) -> int:
    """Cells of `n` queries that decode at once best: as many as the cache or the device holds."""
    queries, most = (
        info.chunk_queries * work_limits.chunk_factor,
        info.chunk_cells * work_limits.chunk_factor,
    )
    return min(max(queries // n, 1), most)


def chunk_shape(
    info: StageInfo, rows: GroupedOutputs, cols: GroupedOutputs, work_limits: WorkLimits
) -> Size:
    """Rows and columns of cells that decode at once.

    As many cells as the plan finds best for the cache, fewer where a cell has many queries or
    the block is too small to keep all workers busy. On a device, what the class of cells takes.
    """
    if work_limits.cell_classes:
        return class_shape(info, side_class(max(rows.n, cols.n), work_limits), work_limits)
    total = len(rows.cells) * len(cols.cells)
    cells = cells_at_once(info, rows.n * cols.n, work_limits)
    cells = min(cells, -(-total // work_limits.workers))
    if len(cols.cells) >= cells:
        return 1, cells
    return max(cells // len(cols.cells), 1), len(cols.cells)


def side_class(side: int, work_limits: WorkLimits) -> int:
    """The class of a cell with up to `side` queries along an axis: the class's largest side."""
    for limit in work_limits.cell_classes:
        if side <= limit:
            return limit
    raise EngineError(
        f"A cell has {side} queries along an axis; a device takes at most "
        f"{work_limits.cell_classes[-1]}. Use smaller blocks."
    )


def class_shape(info: StageInfo, side: int, work_limits: WorkLimits) -> Size:
    """Rows and columns of cells of a class, at most; the product is what the device takes."""
    cells = cells_at_once(info, side * side, work_limits)
    cols = min(WIDEST, cells)
    return cells // cols, cols


WIDEST = 64
"""Columns of cells that a device takes at once: a block of 256 output pixels at x4."""
