"""The direct form: single coordinates through the point graphs. Whole-image maps, any positions.

The scheduler's grouped form is many times faster on a grid; this one asks nothing of the
coordinates. It is the oracle in tests and the peer in benchmarks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.cascade import Size, grids
from clit_deploy.encoder import Encoder
from clit_deploy.geometry import Span
from clit_deploy.maps import MapMaker
from clit_deploy.tables import tables_of
from clit_deploy.tiling import Tile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clit_deploy.bundle import Plan
    from clit_deploy.runtimes.base import Runtime


class PointDecoder:
    """The point graphs of a plan on a runtime."""

    def __init__(self, plan: Plan, runtime: Runtime, batch: int = 2048) -> None:
        self.manifest = plan.manifest
        self.batch = batch
        self._encoder = Encoder(plan, runtime)
        self._tables = tables_of(plan)
        self._maps = [
            MapMaker(index, plan, runtime, self._tables)
            for index in range(len(plan.manifest.stages))
        ]
        self._point = [
            runtime.runner(plan.read(stage.point), wide=True) for stage in plan.manifest.stages
        ]

    def residuals(
        self, image: NDArray[np.float32], coords: NDArray[np.float64], output: Size, scale: float
    ) -> NDArray[np.float32]:
        """Answers without the bilinear base, `[q, 3]`.

        Args:
            image: `[h, w, 3]`, 0 to 1.
            coords: `[q, 2]`, row and column in -1..1.
            output: size of the output grid whose pixels the queries stand for.
            scale: decides how many stages run.
        """
        height, width, _ = image.shape
        whole = Span(0, height)
        features = self._encoder.encode(image, Tile(whole, whole, whole), width)
        total = np.zeros((len(coords), 3), np.float32)
        stages = self.manifest.stages
        for index, grid in enumerate(grids((height, width), output, scale, len(stages))):
            info = stages[index]
            start = -1 if info.anchor == "corner" else 0
            cells = Span(start, grid[0]), Span(start, grid[1])
            maps = self._maps[index].make(features, grid, *cells)
            feeds = {
                "maps": maps,
                "cell": self._tables.cell(grid, output, scale),
                "grid": np.array([grid], np.float32),
                "origin": np.full((1, 2), start - info.before, np.float32),
            }
            answers = [
                self._point[index].run({**feeds, "coords": part[None].astype(np.float32)})[0]
                for part in np.array_split(coords, -(-len(coords) // self.batch))
            ]
            total = np.concatenate(answers) + np.float32(self.manifest.decay) * total
        return total
