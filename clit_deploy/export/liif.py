"""LIIF as graphs: the feature part of its first layer is one convolution, hoisted to the grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.export.builder import Builder, Dims, Tensor, ints
from clit_deploy.export.layers import (
    bias,
    channels_last,
    convolution,
    flat_index,
    gather,
    grid_position,
    tail,
    weight,
    windows,
)
from clit_deploy.manifest import StageInfo

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from clit_deploy.models.liif import LIIF

SHIFT = 0.5
"""The network answers in -1..1; there is no bilinear base to carry the middle of the range."""

ROW_AXES, COL_AXES = (0, 3, 5, 6), (1, 2, 4, 6)
"""Axes along which a row's (a column's) table is spread in a chunk's
`[neighbour columns, neighbour rows, rows, cols, ny, nx, channels]`."""


class LiifExport:
    """See `FamilyExport`. Maps hold the first layer's sum over the features, `hidden` channels."""

    def __init__(self, model: LIIF) -> None:
        self.model = model
        self.neighbours = 2 if model.local_ensemble else 1
        first = model.imnet.linears[0]
        self.hidden = int(first.weight.shape[0])
        columns = np.cumsum([self._features, 2, 2 if model.cell_decode else 0])
        self.w_features, self.w_offset, self.w_cell, _ = np.split(weight(first), columns, axis=1)
        self.constant = bias(first)

    @property
    def _features(self) -> int:
        return self.model.encoder.out_dim * (9 if self.model.feat_unfold else 1)

    def describe(self, stage: int) -> StageInfo:
        """Cells lie between pixel centres, where queries share their four neighbours."""
        ensemble = self.neighbours == 2
        return StageInfo(
            project=f"stage{stage}.project.onnx",
            decode=f"stage{stage}.decode.onnx",
            point=f"stage{stage}.point.onnx",
            anchor="corner" if ensemble else "pixel",
            before=0,
            after=1 if ensemble else 0,
            border="edge",
            channels=self.hidden,
            margin=3,
            project_bytes=4 * 3 * self.hidden,
            cell_bytes=2 * 4 * 6 * self.hidden,
            query_bytes=2 * 4 * 3 * self.neighbours**2 * self.hidden,
            chunk_queries=256,
            chunk_cells=256,
        )

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """LIIF's tables need no weights."""
        return {}

    def project(self, stage: int) -> onnx.ModelProto:
        """Encoder features -> the first layer's sum over them, `[rows, cols, hidden]`."""
        b = Builder(f"stage{stage}.project")
        channels = self.model.encoder.out_dim
        features = b.input("features", [1, channels, "in_rows", "in_cols"])
        side = 3 if self.model.feat_unfold else 1
        with b.scope("layer0"):
            kernel = self.w_features.reshape(self.hidden, channels, side, side)
            maps = channels_last(b, convolution(b, features, kernel, self.constant))
        b.output("maps", maps, ["rows", "cols", self.hidden])
        return b.model()

    def decode(self, stage: int) -> onnx.ModelProto:
        """The rest of the MLP for every neighbour of every query, then the blend."""
        m = self.neighbours
        b = Builder(f"stage{stage}.decode")
        row_slots: Dims = ["rows", "ny", m]
        col_slots: Dims = ["cols", "nx", m]
        maps = b.input("maps", [m, "rows", "padded_cols", self.hidden])
        row_offset, row_blend = b.input("row_offset", row_slots), b.input("row_blend", row_slots)
        col_offset, col_blend = b.input("col_offset", col_slots), b.input("col_blend", col_slots)
        cell = b.input("cell", [1, 2]) if self.model.cell_decode else None
        ny, cols, nx = b.shape(row_offset, 1), b.shape(col_offset, 0), b.shape(col_offset, 1)
        with b.scope("layer0"):
            near = windows(b, b.unsqueeze(maps, 0), range(m), cols, axis=3, join=0)
            near = b.unsqueeze(near, 4, 5)  # [m cols, m rows, rows, cols, ny, nx, hidden]
            x = b("Add", near, self._shift(b, row_offset, 0, ROW_AXES))
            across = self._shift(b, col_offset, 1, COL_AXES)
            if cell is not None:
                across = b("Add", across, b("MatMul", cell, self.w_cell.T))
            x = b.reshape(b("Add", x, across), -1, self.hidden)
        rgb = tail(b, x, self.model.imnet, SHIFT)
        with b.scope("blend"):
            rgb = b.reshape(rgb, m, m, -1, cols, ny, nx, 3)
            share = b(
                "Mul",
                self._lead(b, row_blend, (0, 3, 5, 6)),
                self._lead(b, col_blend, (1, 2, 4, 6)),
            )
            rgb = b("ReduceSum", b("Mul", rgb, share), ints(0, 1), keepdims=0)
        b.output("rgb", b.transpose(rgb, 0, 2, 1, 3, 4), ["rows", "ny", "cols", "nx", 3])
        return b.model()

    def _lead(self, b: Builder, table: Tensor, axes: tuple[int, ...]) -> Tensor:
        """A table `[cells, n, m]` -> neighbours first, spread over the chunk's seven axes."""
        return b.unsqueeze(b.transpose(table, 2, 0, 1), *axes)

    def _shift(self, b: Builder, offset: Tensor, side: int, axes: tuple[int, ...]) -> Tensor:
        """What an offset along one axis adds to the first layer."""
        return b("Mul", self._lead(b, offset, axes), self.w_offset[:, side])

    def point(self, stage: int) -> onnx.ModelProto:
        """The neighbours gathered for every coordinate."""
        m = self.neighbours
        b = Builder(f"stage{stage}.point")
        maps = b.input("maps", ["map_rows", "map_cols", self.hidden])
        coords = b.input("coords", [1, "queries", 2])
        cell = b.input("cell", [1, 2]) if self.model.cell_decode else None
        grid, origin = b.input("grid", [1, 2]), b.input("origin", [1, 2])
        side = np.arange(m)
        steps = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)
        with b.scope("layer0"):
            pixel, position = grid_position(b, coords, grid, "Floor" if m == 2 else "Round")
            x = gather(b, maps, flat_index(b, maps, pixel, origin, steps), self.hidden)
            offset = self._clamped_offset(b, pixel, position, grid, steps)
            x = b("Add", x, b("MatMul", offset, self.w_offset.T))
            if cell is not None:
                x = b("Add", x, b("MatMul", cell, self.w_cell.T))
        rgb = b.reshape(
            tail(b, b.reshape(x, -1, self.hidden), self.model.imnet, SHIFT), -1, m * m, 3
        )
        with b.scope("blend"):
            share = self._point_blend(b, offset)
            rgb = b("ReduceSum", b("Mul", rgb, share), ints(1), keepdims=0)
        b.output("rgb", b.unsqueeze(rgb, 0), [1, "queries", 3])
        return b.model()

    def _clamped_offset(
        self, b: Builder, pixel: Tensor, position: Tensor, grid: Tensor, steps: NDArray[np.int64]
    ) -> Tensor:
        """Offsets `[q, m^2, 2]` from the neighbours that exist: beyond the border, the last."""
        moved = b("Add", b.unsqueeze(pixel, 1), steps[None].astype(np.float32))
        last = b("Sub", grid, 1.0)
        near = b("Max", b("Min", moved, last), np.float32(0))
        u = b.unsqueeze(b("Add", pixel, position), 1)
        return b("Mul", b("Sub", u, near), 2.0)

    def _point_blend(self, b: Builder, offset: Tensor) -> Tensor:
        """Opposite areas over their sum, `[q, m^2, 1]`; neighbours are ordered row first."""
        m = self.neighbours
        reach = b("Add", b("Abs", offset), 1e-9)
        flipped = b("Gather", reach, ints(*range(m * m))[::-1].copy(), axis=1)
        sides = b("Div", flipped, b("Add", flipped, reach)) if m == 2 else b("Div", reach, reach)
        rows, cols = b.many("Split", 2, sides, axis=2, num_outputs=2)
        return b("Mul", rows, cols)
