"""Attention over windows for single queries: a window is gathered for each. Grids use the grouped
form, which is many times faster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.export.graph_builder import Builder, Tensor, ints
from clit_deploy.export.graph_layers import gather, tail
from clit_deploy.export.posenc_graphs import splits

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from clit_deploy.export.attention_family import AttentionFamily


def point_graph(family: AttentionFamily, stage: int) -> onnx.ModelProto:
    """`maps`, `pixel [q, 2]` and the tables of the queries -> `rgb [q, 3]`."""
    model, k = family.model, family.k
    b = Builder(f"stage{stage}.point")
    maps, pixel = _inputs(b, family)
    attention, window = _attention(b, family, maps, pixel)
    first = family.first_layer(stage)
    with b.scope("layer0"):
        values = b.slice(window, 2 * model.dim, 3 * model.dim, 2)
        values = b("Reshape", values, ints(0, 0, model.head, family.depth))
        weighted = b("Mul", values, b.unsqueeze(b.transpose(attention, 0, 2, 1), 3))
        column_first = first.values.transpose(2, 1, 3, 0).reshape(-1, len(first.values))
        z = b("MatMul", b.reshape(weighted, -1, model.dim * k * k), column_first)
        more = family.point_term(b, window)
        z = family.closed(b, first, z if more is None else b("Add", z, more), sizes="sizes")
    b.output("rgb", tail(b, z, family.mlp_of(stage)), ["queries", 3])
    return b.model()


def attention_graph(family: AttentionFamily) -> onnx.ModelProto:
    """`maps`, `pixel [q, 2]` and the tables of the queries -> `attention [q, heads, k * k]`."""
    b = Builder("attention")
    maps, pixel = _inputs(b, family)
    attention, _ = _attention(b, family, maps, pixel)
    b.output("attention", attention, ["queries", family.model.head, family.k**2])
    return b.model()


def _inputs(b: Builder, family: AttentionFamily) -> tuple[Tensor, Tensor]:
    maps = b.input("maps", ["map_rows", "map_cols", family.channels])
    return maps, b.input("pixel", ["queries", 2])


def _attention(
    b: Builder, family: AttentionFamily, maps: Tensor, pixel: Tensor
) -> tuple[Tensor, Tensor]:
    """The attention `[q, heads, k * k]`, and the windows of the maps `[q, k * k, channels]`."""
    model = family.model
    row_weights = b.input("row_weights", ["queries", 3])
    col_weights = b.input("col_weights", ["queries", 3])
    with b.scope("window"):
        around = gather(b, maps, pixel, _steps(1))
        mix = b("Mul", b.unsqueeze(col_weights, 2), b.unsqueeze(row_weights, 1))
        mix = b.reshape(mix, -1, 9, 1)
        q = b("ReduceSum", b("Mul", b.slice(around, 0, model.dim, 2), mix), ints(1), keepdims=0)
        window = gather(b, maps, pixel, _steps(model.r))
        keys = b.slice(window, model.dim, 2 * model.dim, 2)
        keys = b("Reshape", keys, ints(0, 0, model.head, family.depth))
    with b.scope("attention"):
        q = b("Reshape", q, ints(0, model.head, family.depth, 1))
        logits = b("Squeeze", b("MatMul", b.transpose(keys, 0, 2, 1, 3), q), ints(3))
        return b("Softmax", b("Add", logits, _bias(b, family)), axis=-1), window


def _bias(b: Builder, family: AttentionFamily) -> Tensor:
    """The position bias `[q, heads, k * k]`, from its tables."""
    heads, k = family.model.head, family.k
    if not splits(family.model.pb_encoder):
        return b.input("bias", ["queries", heads, k * k])
    row_bias = b.unsqueeze(b.input("row_bias", ["queries", heads, k]), 2)
    col_bias = b.unsqueeze(b.input("col_bias", ["queries", heads, k]), 3)
    return b.reshape(b("Add", col_bias, row_bias), -1, heads, k * k)


def _steps(reach: int) -> NDArray[np.int64]:
    """Rows and columns of a window, column first, `[(2 reach + 1)^2, 2]`."""
    side = np.arange(-reach, reach + 1)
    cols, rows = np.meshgrid(side, side, indexing="ij")
    return np.stack([rows, cols], axis=-1).reshape(-1, 2)
