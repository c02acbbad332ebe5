"""CLIT as graphs, in the exact restructured form: grouped queries, swapped first layer.

Window positions are ordered column first (`jx * k + jy`): slices along the columns of a
row-major strip then join without a transpose.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.export.builder import Builder, Tensor, ints
from clit_deploy.export.clit_point import point_graph
from clit_deploy.export.layers import bias, channels_last, convolution, tail, weight, windows
from clit_deploy.manifest import StageInfo

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from clit_deploy.models.clit import CLIT

SMALLEST_SHARE = np.float32(1e-30)
"""Floor of the attention. Far below what float32 sums can show, and far above the denormal
numbers (below 1e-38) of a sharp softmax, which made decoding two to three times slower."""


class ClitExport:
    """See `FamilyExport`. Maps hold queries, keys and values, `3 D` channels."""

    def __init__(self, model: CLIT) -> None:
        self.model = model
        self.k = 2 * model.r + 1
        self.depth = model.dim // model.head
        self.hidden = model.mlp(0).linears[0].out_features

    def describe(self, stage: int) -> StageInfo:
        """Zeros outside, a window of `2r + 1`; costs counted from the decode graph's tensors."""
        model, area = self.model, self.k**2
        return StageInfo(
            project=f"stage{stage}.project.onnx",
            decode=f"stage{stage}.decode.onnx",
            point=f"stage{stage}.point.onnx",
            anchor="pixel",
            before=model.r,
            after=model.r,
            border="zero",
            channels=3 * model.dim,
            margin=model.r + 4,
            project_bytes=4 * 3 * model.dim * 4,
            cell_bytes=2 * 4 * area * (2 * self.hidden + 4 * model.dim),
            query_bytes=2 * 4 * (3 * area * model.head + 4 * self.hidden),
            chunk_queries=1024,
            chunk_cells=64,
        )

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """The sinusoidal encoding's frequencies and its projection, by axis."""
        encoding = self.model.pb_encoder
        if encoding is None:
            nothing = np.zeros((self.model.head, 0))
            empty = {"bias_row": nothing, "bias_col": nothing}
            return {"frequencies": np.zeros(0), **empty, "bias": np.zeros(self.model.head)}
        frequencies = encoding.frequencies.double().numpy()
        rows_sin, cols_sin, rows_cos, cols_cos = np.split(weight(encoding.proj), 4, axis=1)
        return {
            "frequencies": frequencies,
            "bias_row": np.concatenate([rows_sin, rows_cos], axis=1),
            "bias_col": np.concatenate([cols_sin, cols_cos], axis=1),
            "bias": bias(encoding.proj),
        }

    # -- project -------------------------------------------------------------------------------

    def project(self, stage: int) -> onnx.ModelProto:
        """Encoder features -> queries (already scaled), keys and values of the stage's grid."""
        model = self.model
        b = Builder(f"stage{stage}.project")
        features = b.input("features", [1, model.encoder.out_dim, "in_rows", "in_cols"])
        with b.scope("widen"):
            wide = convolution(b, features, weight(model.conv_ch), bias(model.conv_ch))
        maps = self._convolved(b, wide, stage) if stage == 0 else self._resampled(b, wide, stage)
        b.output("maps", maps, ["rows", "cols", 3 * model.dim])
        return b.model()

    def _convolved(self, b: Builder, wide: Tensor, stage: int) -> Tensor:
        """On the image's own grid. The widened features are zero outside the image."""
        with b.scope("inside"):
            rows = b.unsqueeze(b.input("row_inside", ["wide_rows"]), 1)
            wide = b("Mul", wide, b("Mul", rows, b.input("col_inside", ["wide_cols"])))
        with b.scope("qkv"):
            kernel, constant = self._qkv(stage)
            return channels_last(b, convolution(b, wide, kernel, constant))

    def _resampled(self, b: Builder, wide: Tensor, stage: int) -> Tensor:
        """On a finer grid: a 3x3 convolution of a resampled map is the sum of nine resamplings
        of 1x1 convolutions at low resolution; two matrices an axis do them all."""
        dim = self.model.dim
        kernel, constant = self._qkv(stage)
        coarse = channels_last(b, wide)
        height, width = b.shape(coarse, 0), b.shape(coarse, 1)
        rows = b.input("row_taps", ["rows", "row_reach"])
        cols = b.input("col_taps", ["cols", "col_reach"])
        with b.scope("taps"):
            flat = b.reshape(coarse, -1, dim)
            taps = []
            for dy in range(3):
                mixing = kernel[:, :, dy].transpose(1, 2, 0).reshape(dim, 9 * dim)
                taps.append(b.reshape(b("MatMul", flat, mixing), height, -1))
        with b.scope("resample"):
            maps = b("MatMul", rows, b("Concat", *taps, axis=0))
            maps = b.reshape(maps, b.shape(rows, 0), b("Mul", width, ints(3)), 3 * dim)
            return b("Add", b("MatMul", cols, maps), constant)

    def _qkv(self, stage: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        model, scale = self.model, 1 / math.sqrt(self.depth)
        q, k, v = model.qkv(stage)
        return (
            np.concatenate([weight(q) * scale, weight(k), weight(v)]),
            np.concatenate([bias(q) * scale, bias(k), bias(v)]),
        )

    # -- decode --------------------------------------------------------------------------------

    def decode(self, stage: int) -> onnx.ModelProto:
        """Window attention and MLP for a chunk of `rows x cols` cells of `ny x nx` queries."""
        b = Builder(f"stage{stage}.decode")
        dim, heads, k = self.model.dim, self.model.head, self.k
        maps = b.input("maps", [k, "rows", "padded_cols", 3 * dim])
        row_weights = b.input("row_weights", ["rows", "ny", 3])
        col_weights = b.input("col_weights", ["cols", "nx", 3])
        row_bias = b.input("row_bias", ["rows", "ny", heads, k])
        col_bias = b.input("col_bias", ["cols", "nx", heads, k])
        cell = b.input("cell", [1, 2])
        rows, ny = b.shape(row_weights, 0), b.shape(row_weights, 1)
        cols, nx = b.shape(col_weights, 0), b.shape(col_weights, 1)
        n = b("Mul", ny, nx)

        with b.scope("attention"):
            q, keys, values = (self._heads(b, maps, part) for part in range(3))
            mix = self._mix(b, row_weights, col_weights, n)
            logits = self._logits(b, q, keys, mix, cols)
            logits = b.reshape(logits, heads, -1, cols, ny, nx, k * k)
            logits = b("Add", logits, self._spread(b, row_bias, "row", heads, rows, 1, ny, 1))
            logits = b("Add", logits, self._spread(b, col_bias, "col", heads, 1, cols, 1, nx))
            attention = b("Clip", b("Softmax", logits, axis=-1), SMALLEST_SHARE)
            attention = b.reshape(attention, heads, b("Mul", rows, cols), n, k * k)
        with b.scope("layer0"):
            z = self._first_layer(b, stage, attention, values, cols, cell)
        rgb = tail(b, b.reshape(z, -1, self.hidden), self.model.mlp(stage))
        rgb = b.reshape(rgb, rows, cols, ny, nx, 3)
        b.output("rgb", b.transpose(rgb, 0, 2, 1, 3, 4), ["rows", "ny", "cols", "nx", 3])
        return b.model()

    def _heads(self, b: Builder, maps: Tensor, part: int) -> Tensor:
        """One of q, k, v as `[heads, rows, padded_cols, k, depth]`; v with `k` second."""
        dim = self.model.dim
        some = b.slice(maps, part * dim, (part + 1) * dim, 3)
        if part == 0:  # bilinear interpolation reads only the middle three rows of the window
            some = b.slice(some, self.model.r - 1, self.model.r + 2, 0)
        split = b("Reshape", some, ints(0, 0, 0, self.model.head, self.depth))
        return b.transpose(split, *((3, 0, 1, 2, 4) if part == 2 else (3, 1, 2, 0, 4)))

    def _mix(self, b: Builder, rows: Tensor, cols: Tensor, n: Tensor) -> Tensor:
        """Bilinear weights of all queries, `[rows, cols, n, 9]`, column first."""
        outer = b("Mul", b.unsqueeze(rows, 1, 3, 4), b.unsqueeze(cols, 0, 2, 5))
        return b.reshape(outer, 0, 0, n, 9)

    def _logits(self, b: Builder, q: Tensor, keys: Tensor, mix: Tensor, cols: Tensor) -> Tensor:
        """`mix (q k^T)`: nine products of grid pixels a cell, then interpolated for its queries."""
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

    def _spread(self, b: Builder, table: Tensor, side: str, *dims: int | Tensor) -> Tensor:
        """A bias table over window rows (or columns) -> over the whole window.

        A product with zeros and ones: exact, and in the order in which the logits come.
        """
        pick = np.eye(self.k, dtype=np.float32)
        ones = np.ones((1, self.k), np.float32)
        over = np.kron(ones, pick) if side == "row" else np.kron(pick, ones)
        wide = b("MatMul", b.transpose(table, 2, 0, 1, 3), over)
        return b.reshape(wide, *dims, self.k**2)

    def _first_layer(
        self, b: Builder, stage: int, attention: Tensor, values: Tensor, cols: Tensor, cell: Tensor
    ) -> Tensor:
        """Sum over the heads of `attention (V W1)`, plus cell and bias.

        `V W1` of one head is 49 kB a cell (published size) and fits the cache where that of all
        heads does not: one head after the other is up to twice as fast on a CPU.
        """
        model, area = self.model, self.k**2
        linear = model.mlp(stage).linears[0]
        w, split = weight(linear), model.dim * area
        by_head = w[:, :split].reshape(self.hidden, self.k, self.k, model.head, self.depth)
        by_head = by_head.transpose(3, 2, 1, 4, 0).reshape(
            model.head, area, self.depth, self.hidden
        )
        attentions = b.many("Split", model.head, attention, axis=0, num_outputs=model.head)
        strips = b.many("Split", model.head, values, axis=0, num_outputs=model.head)
        terms = []
        for head in range(model.head):
            with b.scope(f"head{head}"):
                window = windows(b, strips[head], range(self.k), cols, axis=3, join=0)
                window = b.reshape(window, area, -1, self.depth)
                product = b.transpose(b("MatMul", window, by_head[head]), 1, 0, 2)
                terms.append(b("MatMul", b("Squeeze", attentions[head], ints(0)), product))
        constant: Tensor | NDArray[np.float64] = bias(linear)
        if model.is_cell:
            constant = b("Add", b("MatMul", cell, w[:, split:].T), constant)
        return b("Add", b.total(terms), constant)

    # -- point ---------------------------------------------------------------------------------

    def point(self, stage: int) -> onnx.ModelProto:
        """The direct form for single coordinates."""
        return point_graph(self.model, stage, self.arrays())
