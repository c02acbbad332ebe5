"""CLIT's direct form: one window gathered for every coordinate. The oracle, and the peer in
benchmarks; grids go through the grouped form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.export.builder import Builder, Tensor, ints
from clit_deploy.export.layers import bias, flat_index, gather, grid_position, tail, weight
from clit_deploy.export.waves import fraction, sine

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx
    from numpy.typing import NDArray

    from clit_deploy.models.clit import CLIT


def point_graph(
    model: CLIT, stage: int, tables: Mapping[str, NDArray[np.float64]]
) -> onnx.ModelProto:
    """`maps`, `coords`, `cell`, `grid`, `origin` -> `rgb [1, q, 3]`; see `FamilyExport.point`."""
    dim, heads, r = model.dim, model.head, model.r
    b = Builder(f"stage{stage}.point")
    maps = b.input("maps", ["map_rows", "map_cols", 3 * dim])
    coords = b.input("coords", [1, "queries", 2])
    cell = b.input("cell", [1, 2])
    grid, origin = b.input("grid", [1, 2]), b.input("origin", [1, 2])
    with b.scope("window"):
        pixel, position = grid_position(b, coords, grid, "Round")
        around = gather(b, maps, flat_index(b, maps, pixel, origin, _steps(1)), 3 * dim)
        q = b("Mul", b.slice(around, 0, dim, 2), b.unsqueeze(_weights(b, position), 2))
        q = b("ReduceSum", q, ints(1), keepdims=0)
        window = gather(b, maps, flat_index(b, maps, pixel, origin, _steps(r)), 3 * dim)
        shape = ints(0, 0, heads, dim // heads)
        keys = b("Reshape", b.slice(window, dim, 2 * dim, 2), shape)
        values = b("Reshape", b.slice(window, 2 * dim, 3 * dim, 2), shape)
    with b.scope("attention"):
        q = b("Reshape", q, ints(0, heads, dim // heads, 1))
        logits = b("Squeeze", b("MatMul", b.transpose(keys, 0, 2, 1, 3), q), ints(3))
        logits = b("Add", logits, _bias(b, position, r, tables))
        attention = b("Softmax", logits, axis=-1)
        weighted = b("Mul", values, b.unsqueeze(b.transpose(attention, 0, 2, 1), 3))
    with b.scope("layer0"):
        linear = model.mlp(stage).linears[0]
        w, split = weight(linear), dim * (2 * r + 1) ** 2
        z = b("MatMul", b.reshape(weighted, -1, split), w[:, :split].T)
        z = b("Add", z, bias(linear))
        if model.is_cell:
            z = b("Add", z, b("MatMul", cell, w[:, split:].T))
    rgb = tail(b, z, model.mlp(stage))
    b.output("rgb", b.unsqueeze(rgb, 0), [1, "queries", 3])
    return b.model()


def _steps(reach: int) -> NDArray[np.int64]:
    """Rows and columns of a window, row first, `[(2 reach + 1)^2, 2]`."""
    side = np.arange(-reach, reach + 1)
    return np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)


def _weights(b: Builder, position: Tensor) -> Tensor:
    """Bilinear weights `[q, 9]` of the 3x3 pixels around, for a position from the centre."""
    distance = b("Abs", b("Sub", b.unsqueeze(position, 1), _steps(1)[None].astype(np.float32)))
    hat = b("Relu", b("Sub", np.float32(1.0), distance))
    rows, cols = b.many("Split", 2, hat, axis=2, num_outputs=2)
    return b("Squeeze", b("Mul", rows, cols), ints(2))


def _bias(
    b: Builder, position: Tensor, r: int, tables: Mapping[str, NDArray[np.float64]]
) -> Tensor:
    """The sinusoidal bias `[q, heads, window]`, rows and columns evaluated apart."""
    k, heads = 2 * r + 1, len(tables["bias"])
    steps = np.arange(-r, r + 1, dtype=np.float64)
    pieces: list[Tensor] = []
    for axis, side in enumerate(("row", "col")):
        with b.scope(side):
            turns = tables["frequencies"] / np.pi  # an offset counts half pixels
            phase = np.mod(-steps[:, None] * turns, 1)
            angle = b("Mul", b.slice(position, axis, axis + 1, 1), turns[None])
            angle = b("Add", b.unsqueeze(fraction(b, angle), 1), phase[None])
            waves = sine(b, b("Concat", angle, b("Add", angle, 0.25), axis=2))
            bias_table = b("MatMul", waves, tables[f"bias_{side}"].T)
            pieces.append(b.unsqueeze(b.transpose(bias_table, 0, 2, 1), 3 - axis))
    total = b("Add", b("Add", *pieces), tables["bias"].reshape(1, heads, 1, 1))
    return b.reshape(total, -1, heads, k * k)
