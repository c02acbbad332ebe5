"""One stage on one block of the output: make the maps, decode them chunk by chunk."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.errors import DeviceMemoryError
from clit_deploy.grid.geometry import GroupedOutputs, Span
from clit_deploy.render.layout import chunk_shape
from clit_deploy.render.pair_bias import PairBiasTable
from clit_deploy.system.phases import phase
from clit_deploy.system.threads import thread_limit_explained

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import StageGrid
    from clit_deploy.plan.manifest import StageInfo
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.render.encoder import FeatureSource
    from clit_deploy.render.layout import Block
    from clit_deploy.render.maps import MapMaker
    from clit_deploy.render.tables.family_tables import Feeds, Side, Tables
    from clit_deploy.runtimes.protocols import Array, Runtime


log = logging.getLogger(__name__)


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
        self._limits = runtime.work_limits
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
        features: FeatureSource,
        stage_grid: StageGrid,
        scale: float,
        block: Block,
        pool: Executor,
        stop: Callable[[], None] | None = None,
    ) -> NDArray[np.float32]:
        """What the stage adds to a block of the output, `[rows, cols, 3]`; `stop` is called before
        each chunk, and raises where the work is not wanted any more."""
        rows = GroupedOutputs.sort(stage_grid.over_grid[0], block.rows, self.info.anchor)
        cols = GroupedOutputs.sort(stage_grid.over_grid[1], block.cols, self.info.anchor)
        with phase(f"{self._name}.project"):
            maps = self._maps.make(features, stage_grid, rows.cells, cols.cells, stop)
        size = self._tables.cell(rows, cols, scale)
        while True:
            try:
                return self._decoded(maps, rows, cols, size, pool, stop)
            except DeviceMemoryError:
                if self._limits.chunk_factor == 1:
                    raise
                self._halve_chunks()

    def _halve_chunks(self) -> None:
        """Halve the number of cells that decode at once, from now on."""
        half = self._limits.chunk_factor // 2
        self._limits = dataclasses.replace(self._limits, chunk_factor=half)
        log.warning("out of device memory: chunks of %s are halved", self.info.decode)

    def _decoded(
        self,
        maps: Array,
        rows: GroupedOutputs,
        cols: GroupedOutputs,
        size: NDArray[np.float32],
        pool: Executor,
        stop: Callable[[], None] | None,
    ) -> NDArray[np.float32]:
        """The block `rows x cols`, chunk by chunk."""
        shape = chunk_shape(self.info, rows, cols, self._limits)
        with phase(f"{self._name}.tables"):
            row_parts = self._parts("row", rows, shape[0])
            col_parts = self._parts("col", cols, shape[1])
        result = np.empty((len(rows.gather), len(cols.gather), 3), np.float32)

        def decode(chunk: tuple[_Part, _Part]) -> None:
            row, col = chunk
            if stop:
                stop()
            feeds = {"maps": self._window(maps, row, col), "cell": size, **row.feeds, **col.feeds}
            if self._pairs:
                feeds.update(self._pairs.of_slots(row.slots, col.slots))
            rgb = self._arrays.host(self._decode.run(feeds))
            flat = rgb.reshape(rgb.shape[0] * rgb.shape[1], -1, 3)
            placed = _Placement.of(row, rows), _Placement.of(col, cols)
            result[placed[0].at, placed[1].at] = placed[0].pick(placed[1].pick(flat, 1), 0)

        with phase(f"{self._name}.decode"), thread_limit_explained():
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
        """The maps of a chunk as the decoder needs them: `[window, rows, cols + window, c]`."""
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
        """Drop the slots that only repeat other slots."""
        return slots if self.gather is None else slots.take(self.gather, axis)
