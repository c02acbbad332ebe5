"""Maps of a stage: the projections of the encoder's features that its queries read."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from clit_deploy.grid.cascade import StageGrid
    from clit_deploy.grid.geometry import Span
    from clit_deploy.plan.manifest import StageInfo
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.render.encoder import FeatureSource
    from clit_deploy.render.tables.family_tables import Tables
    from clit_deploy.runtimes.protocols import Array, Arrays, Runtime


class MapMaker:
    """The *project* graph of one stage, bound to a runtime."""

    def __init__(self, index: int, plan: Plan, runtime: Runtime, tables: Tables) -> None:
        self.index = index
        self.info = plan.manifest.stages[index]
        self._tables = tables
        self._arrays = runtime.arrays
        self._project = runtime.runner(plan, self.info.project, parallel=True)

    def make(
        self,
        features: FeatureSource,
        stage_grid: StageGrid,
        rows: Span,
        cols: Span,
        stop: Callable[[], None] | None = None,
    ) -> Array:
        """The maps that the cells `rows x cols` read, `[rows + window, cols + window, channels]`.

        Outside the grid they follow the stage's border: zero, or the nearest pixel inside.
        """
        wanted, inside = window_of(self.info, stage_grid, rows, cols)
        work = self._tables.project(self.index, stage_grid, inside[0], inside[1])
        patch = features.patch(work.rows, work.cols, stop)
        maps = self._project.run({"features": patch, **work.feeds})
        missing = [
            (a.start - w.start, w.stop - a.stop) for a, w in zip(inside, wanted, strict=True)
        ]
        if not any(itertools.chain(*missing)):
            return maps
        return _padded(self._arrays, maps, missing, edge=self.info.border == "edge")


def window_of(
    info: StageInfo, stage_grid: StageGrid, rows: Span, cols: Span
) -> tuple[list[Span], list[Span]]:
    """The map pixels that the cells `rows x cols` read, and those of them that exist."""
    wanted = [span.grow(info.before, info.after) for span in (rows, cols)]
    return wanted, [span.clip(side) for span, side in zip(wanted, stage_grid.size, strict=True)]


def _padded(arrays: Arrays, maps: Array, missing: list[tuple[int, int]], *, edge: bool) -> Array:
    """`maps [rows, cols, channels]` with rows and columns added: zeros, or copies of the edge."""
    (above, below), (left, right) = missing
    rows, cols, channels = maps.shape
    make = arrays.empty if edge else arrays.zeros
    wide = make((above + rows + below, left + cols + right, channels), maps.dtype)
    arrays.copy(wide[above : above + rows, left : left + cols], maps)
    if edge:
        for col in (*range(left), *range(left + cols, left + cols + right)):
            side = wide[above : above + rows, min(max(col, left), left + cols - 1)]
            arrays.copy(wide[above : above + rows, col], side)
        for row in (*range(above), *range(above + rows, above + rows + below)):
            arrays.copy(wide[row], wide[min(max(row, above), above + rows - 1)])
    return wide
