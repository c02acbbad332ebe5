"""Graphs of attention over windows (CLIT, LIT), restructured without changing the function: queries
are grouped by cell, and the first layer is swapped with the attention sum.

Window positions are ordered column first (`jx * k + jy`): slices along the columns of a
row-major strip then join without a transpose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.export.attention_family import AttentionFamily
from clit_deploy.export.attention_point import attention_graph, point_graph
from clit_deploy.export.graph_builder import Builder, Tensor, ints
from clit_deploy.export.graph_layers import tail, windows
from clit_deploy.export.posenc_graphs import bias_arrays, pair_graph, splits
from clit_deploy.plan.manifest import StageInfo

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from clit_deploy.export.graph_layers import Weights

SMALLEST_SHARE = np.float32(1e-30)
"""Floor of the attention. Far below what float32 sums can show, and far above the denormal
numbers (below 1e-38) of a sharp softmax, which made decoding two to three times slower."""


class AttentionExport(AttentionFamily):
    """Graphs of attention over windows; see `FamilyExport`."""

    def describe(self, stage: int) -> StageInfo:
        """Zeros outside the image, a window of side `2r + 1`; memory of decode's tensors."""
        model, area = self.model, self.k**2
        hidden = self.mlp_of(stage).linears[0].out_features
        return StageInfo(
            project=f"stage{stage}.project.onnx",
            decode=f"stage{stage}.decode.onnx",
            point=f"stage{stage}.point.onnx",
            attention="attention.onnx",
            pairs=None if splits(model.pb_encoder) else "pairs.onnx",
            anchor="pixel",
            before=model.r,
            after=model.r,
            border="zero",
            channels=self.channels,
            margin=model.r + 4,
            project_bytes=4 * self.channels * 4,
            cell_bytes=2 * 4 * area * (2 * hidden + 4 * model.dim),
            query_bytes=2 * 4 * (3 * area * model.head + 4 * hidden),
            point_bytes=4 * area * (2 * self.channels + 6 * model.dim),
            chunk_queries=1024,
            chunk_cells=64,
        )

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """The weights of the position bias, if it splits into rows and columns."""
        return bias_arrays(self.model.pb_encoder, self.model.head)

    def shared(self) -> dict[str, onnx.ModelProto]:
        """Graphs of the attention alone and of a position bias that does not split."""
        graphs = {"attention.onnx": attention_graph(self)}
        encoding = self.model.pb_encoder
        if encoding is not None and not splits(encoding):
            graphs["pairs.onnx"] = pair_graph(encoding, self.model.r)
        return graphs

    def point(self, stage: int) -> onnx.ModelProto:
        """The graph for single queries."""
        return point_graph(self, stage)

    # -- decode --------------------------------------------------------------------------------

    def decode(self, stage: int) -> onnx.ModelProto:
        """Window attention and MLP for a chunk of `rows x cols` cells of `ny x nx` queries."""
        b = Builder(f"stage{stage}.decode")
        maps = b.input("maps", [self.k, "rows", "padded_cols", self.channels])
        row_weights = b.input("row_weights", ["rows", "ny", 3])
        col_weights = b.input("col_weights", ["cols", "nx", 3])
        rows, ny = b.shape(row_weights, 0), b.shape(row_weights, 1)
        cols, nx = b.shape(col_weights, 0), b.shape(col_weights, 1)
        n = b("Mul", ny, nx)
        with b.scope("attention"):
            q, keys, values = (self._heads(b, maps, part) for part in range(3))
            mix = self._mix(b, row_weights, col_weights, n)
            logits = self._logits(b, q, keys, mix, cols)
            logits = b.reshape(logits, self.model.head, -1, cols, ny, nx, self.k**2)
            logits = self._biased(b, logits, rows, cols, ny, nx)
            attention = b("Clip", b("Softmax", logits, axis=-1), SMALLEST_SHARE)
            attention = b.reshape(attention, self.model.head, b("Mul", rows, cols), n, self.k**2)
        first = self.first_layer(stage)
        with b.scope("layer0"):
            terms = self._attended(b, first.values, attention, values, cols)
            more = self.decode_term(b, maps, cols)
            z = b.total([*terms, *([] if more is None else [more])])
            z = self.closed(b, first, z, sizes=1)
        rgb = tail(b, b.reshape(z, -1, len(first.constant)), self.mlp_of(stage))
        rgb = b.reshape(rgb, rows, cols, ny, nx, 3)
        b.output("rgb", b.transpose(rgb, 0, 2, 1, 3, 4), ["rows", "ny", "cols", "nx", 3])
        return b.model()

    def _heads(self, b: Builder, maps: Tensor, part: int) -> Tensor:
        """One of q, k, v as `[heads, rows, padded_cols, k, depth]`; v with `k` second."""
        dim = self.model.dim
        some = b.slice(maps, part * dim, (part + 1) * dim, 3)
        if part == 0:  # bilinear interpolation reads the middle three rows of the window only
            some = b.slice(some, self.model.r - 1, self.model.r + 2, 0)
        split = b("Reshape", some, ints(0, 0, 0, self.model.head, self.depth))
        return b.transpose(split, *((3, 0, 1, 2, 4) if part == 2 else (3, 1, 2, 0, 4)))

    def _mix(self, b: Builder, rows: Tensor, cols: Tensor, n: Tensor) -> Tensor:
        """Bilinear weights of all queries, `[rows, cols, n, 9]`, column first."""
        outer = b("Mul", b.unsqueeze(rows, 1, 3, 4), b.unsqueeze(cols, 0, 2, 5))
        return b.reshape(outer, 0, 0, n, 9)

    def _logits(self, b: Builder, q: Tensor, keys: Tensor, mix: Tensor, cols: Tensor) -> Tensor:
        """`mix (q k^T)`: nine products of grid pixels per cell, interpolated for its queries."""
        around = self._around(b, q, range(self.model.r - 1, self.model.r + 2), cols)
        keys = self._around(b, keys, range(self.k), cols)
        return b("MatMul", mix, b("MatMul", around, b.transpose(keys, 0, 1, 2, 4, 3)))

    def _around(self, b: Builder, strip: Tensor, starts: range, cols: Tensor) -> Tensor:
        """`[heads, rows, padded_cols, k, depth]` -> windows `[heads, rows, cols, k * k, depth]`.

        The reshapes keep ONNX Runtime from moving the transposes of strip and product over the
        windows, where they would copy seven times as much in runs of one number.
        """
        heads, k = self.model.head, len(starts)
        joined = b("Reshape", strip, ints(0, 0, 0, k * self.depth))
        joined = windows(b, joined, starts, cols, axis=2, join=3)
        return b.reshape(joined, heads, -1, cols, k * k, self.depth)

    def _biased(
        self, b: Builder, logits: Tensor, rows: Tensor, cols: Tensor, ny: Tensor, nx: Tensor
    ) -> Tensor:
        """Add the position bias to `[heads, rows, cols, ny, nx, k * k]`.

        A bias that does not split into rows and columns is an input: the host computes it once for
        every pair of different offsets, where this graph would compute it for every query.
        """
        heads, k = self.model.head, self.k
        if not splits(self.model.pb_encoder):
            table = b.input("bias", [heads, "rows", "cols", "ny", "nx", k * k])
            return b("Add", logits, table)
        row_bias = b.input("row_bias", ["rows", "ny", heads, k])
        col_bias = b.input("col_bias", ["cols", "nx", heads, k])
        logits = b("Add", logits, self._spread(b, row_bias, "row", heads, rows, 1, ny, 1))
        return b("Add", logits, self._spread(b, col_bias, "col", heads, 1, cols, 1, nx))

    def _spread(self, b: Builder, table: Tensor, side: str, *dims: int | Tensor) -> Tensor:
        """A bias table over window rows (or columns) -> over the whole window.

        A product with zeros and ones: exact, and in the order of the logits.
        """
        pick = np.eye(self.k, dtype=np.float32)
        ones = np.ones((1, self.k), np.float32)
        over = np.kron(ones, pick) if side == "row" else np.kron(pick, ones)
        wide = b("MatMul", b.transpose(table, 2, 0, 1, 3), over)
        return b.reshape(wide, *dims, self.k**2)

    def _attended(
        self, b: Builder, weights: Weights, attention: Tensor, values: Tensor, cols: Tensor
    ) -> list[Tensor]:
        """`attention (V W1)` of every head; their sum is the values' part of the first layer.

        `V W1` of one head is 49 kB per cell (published size) and fits the cache, that of all heads
        does not: one head after the other is up to twice as fast on a CPU.
        """
        heads, area = self.model.head, self.k**2
        by_head = weights.reshape(-1, self.k, self.k, heads, self.depth)
        by_head = by_head.transpose(3, 2, 1, 4, 0).reshape(heads, area, self.depth, -1)
        attentions = b.many("Split", heads, attention, axis=0, num_outputs=heads)
        strips = b.many("Split", heads, values, axis=0, num_outputs=heads)
        terms = []
        for head in range(heads):
            with b.scope(f"head{head}"):
                window = windows(b, strips[head], range(self.k), cols, axis=3, join=0)
                window = b.reshape(window, area, -1, self.depth)
                product = b.transpose(b("MatMul", window, by_head[head]), 1, 0, 2)
                terms.append(b("MatMul", b("Squeeze", attentions[head], ints(0)), product))
        return terms
