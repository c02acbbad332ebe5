"""Maps of a stage: what its queries read, projected from the encoder's features."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clit_deploy.bundle import Plan
    from clit_deploy.cascade import Level
    from clit_deploy.encoder import Features
    from clit_deploy.geometry import Span
    from clit_deploy.runtimes.base import Runtime
    from clit_deploy.tables.base import Tables


class MapMaker:
    """The *project* graph of one stage, bound to a runtime."""

    def __init__(self, index: int, plan: Plan, runtime: Runtime, tables: Tables) -> None:
        self.index = index
        self.info = plan.manifest.stages[index]
        self._tables = tables
        self._project = runtime.runner(plan.read(self.info.project), wide=True)

    def make(self, features: Features, level: Level, rows: Span, cols: Span) -> NDArray[np.float32]:
        """The maps that the cells `rows x cols` read, `[rows + window, cols + window, channels]`.

        Outside the grid they are what the stage's border says: zero, or the nearest inside.
        """
        wanted = [span.grow(self.info.before, self.info.after) for span in (rows, cols)]
        inside = [span.clip(side) for span, side in zip(wanted, level.size, strict=True)]
        work = self._tables.project(self.index, level, inside[0], inside[1])
        patch = features.patch(work.rows, work.cols)
        maps = self._project.run({"features": patch, **work.feeds})
        missing = [
            (a.start - w.start, w.stop - a.stop) for a, w in zip(inside, wanted, strict=True)
        ]
        if not any(itertools.chain(*missing)):
            return maps
        if self.info.border == "edge":
            return np.pad(maps, [*missing, (0, 0)], mode="edge")
        return np.pad(maps, [*missing, (0, 0)])
