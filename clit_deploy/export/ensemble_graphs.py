"""Graphs of the families that blend the predictions of neighboring pixels (LIIF, LTE).

Queries with the same neighbors share a grid cell. A family defines what its network predicts from a
neighbor's map and the offsets from it; this module finds the neighbors and blends the predictions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.export.graph_builder import Builder, Dims, Tensor, ints
from clit_deploy.export.graph_layers import gather, windows
from clit_deploy.plan.manifest import StageInfo

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

ROW_AXES, COL_AXES = (0, 3, 5, 6), (1, 2, 4, 6)
"""Axes that a row's (a column's) table lacks of a chunk's
`[neighbor columns, neighbor rows, rows, cols, ny, nx, channels]`."""


class EnsembleExport(ABC):
    """See `FamilyExport`; `neighbors` is 2 per axis, or 1 for the nearest pixel alone."""

    neighbors: int = 2
    channels: int
    """Channels of the maps."""
    hidden: int
    """Width of the MLP."""
    has_cell: bool = True

    @abstractmethod
    def project(self, stage: int) -> onnx.ModelProto:
        """See `FamilyExport.project`."""

    @abstractmethod
    def answer(
        self, b: Builder, near: Tensor, down: Tensor, across: Tensor, cell: Tensor | None
    ) -> Tensor:
        """The network's RGB, flattened to `[neighbors * queries, 3]`.

        Args:
            b: the graph that is being built.
            near: maps of the neighbors, channels last.
            down: row offsets, broadcast over `near` and over the queries' columns.
            across: column offsets, likewise.
            cell: `[1, 2]`, or one for every query; None if the model does not use it.
        """

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """Nothing: the tables of these families need no weights."""
        return {}

    def describe(self, stage: int) -> StageInfo:
        """Cells lie between pixel centers, where queries share their neighbors."""
        ensemble = self.neighbors == 2
        return StageInfo(
            project=f"stage{stage}.project.onnx",
            decode=f"stage{stage}.decode.onnx",
            point=f"stage{stage}.point.onnx",
            attention=None,
            pairs=None,
            anchor="corner" if ensemble else "pixel",
            before=0,
            after=1 if ensemble else 0,
            border="edge",
            channels=self.channels,
            margin=3,
            project_bytes=4 * 3 * self.channels,
            cell_bytes=2 * 4 * 6 * self.channels,
            query_bytes=2 * 4 * 3 * self.neighbors**2 * self.hidden,
            point_bytes=4 * 4 * self.neighbors**2 * (self.channels + 2 * self.hidden),
            chunk_queries=256,
            chunk_cells=256,
        )

    def decode(self, stage: int) -> onnx.ModelProto:
        """Run the network on all neighbors of all queries, then blend."""
        m = self.neighbors
        b = Builder(f"stage{stage}.decode")
        row_slots: Dims = ["rows", "ny", m]
        col_slots: Dims = ["cols", "nx", m]
        maps = b.input("maps", [m, "rows", "padded_cols", self.channels])
        row_offset, row_blend = b.input("row_offset", row_slots), b.input("row_blend", row_slots)
        col_offset, col_blend = b.input("col_offset", col_slots), b.input("col_blend", col_slots)
        cell = b.input("cell", [1, 2]) if self.has_cell else None
        ny, cols, nx = b.shape(row_offset, 1), b.shape(col_offset, 0), b.shape(col_offset, 1)
        with b.scope("layer0"):
            near = windows(b, b.unsqueeze(maps, 0), range(m), cols, axis=3, join=0)
            near = b.unsqueeze(near, 4, 5)
        down, across = _spread(b, row_offset, ROW_AXES), _spread(b, col_offset, COL_AXES)
        rgb = self.answer(b, near, down, across, cell)
        with b.scope("blend"):
            rgb = b.reshape(rgb, m, m, -1, cols, ny, nx, 3)
            share = b("Mul", _spread(b, row_blend, ROW_AXES), _spread(b, col_blend, COL_AXES))
            rgb = b("ReduceSum", b("Mul", rgb, share), ints(0, 1), keepdims=0)
        b.output("rgb", b.transpose(rgb, 0, 2, 1, 3, 4), ["rows", "ny", "cols", "nx", 3])
        return b.model()

    def shared(self) -> dict[str, onnx.ModelProto]:
        """Nothing: these families need no further graphs."""
        return {}

    def point(self, stage: int) -> onnx.ModelProto:
        """Gather the neighbors of every query, run the network on them, and blend."""
        m = self.neighbors
        b = Builder(f"stage{stage}.point")
        maps = b.input("maps", ["map_rows", "map_cols", self.channels])
        pixel = b.input("pixel", ["queries", 2])
        row_offset, row_blend = (b.input(f"row_{x}", ["queries", m]) for x in ("offset", "blend"))
        col_offset, col_blend = (b.input(f"col_{x}", ["queries", m]) for x in ("offset", "blend"))
        cell = b.unsqueeze(b.input("cell", ["sizes", 2]), 1, 2) if self.has_cell else None
        side = np.arange(m)
        steps = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)
        with b.scope("neighbors"):
            near = b.reshape(gather(b, maps, pixel, steps), -1, m, m, self.channels)
        down, across = b.unsqueeze(row_offset, 2, 3), b.unsqueeze(col_offset, 1, 3)
        rgb = b.reshape(self.answer(b, near, down, across, cell), -1, m, m, 3)
        with b.scope("blend"):
            share = b("Mul", b.unsqueeze(row_blend, 2, 3), b.unsqueeze(col_blend, 1, 3))
            rgb = b("ReduceSum", b("Mul", rgb, share), ints(1, 2), keepdims=0)
        b.output("rgb", rgb, ["queries", 3])
        return b.model()


def _spread(b: Builder, table: Tensor, axes: tuple[int, ...]) -> Tensor:
    """A table `[cells, n, m]` -> neighbors first, broadcast over the chunk's seven axes."""
    return b.unsqueeze(b.transpose(table, 2, 0, 1), *axes)
