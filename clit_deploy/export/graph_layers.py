"""Layers that the graphs of several families share."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from clit_deploy.export.graph_builder import ints

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import nn

    from clit_deploy.export.graph_builder import Builder, Tensor
    from clit_deploy.models.mlp import MLP

Weights: TypeAlias = "NDArray[np.float64]"


def weight(layer: nn.Linear | nn.Conv2d | nn.LayerNorm) -> Weights:
    """A layer's weight, float64 so that folding adds no rounding error."""
    array: Weights = layer.weight.detach().double().numpy()
    return array


def bias(layer: nn.Linear | nn.Conv2d | nn.LayerNorm) -> Weights:
    """A layer's bias, float64."""
    assert layer.bias is not None  # noqa: S101  (no published layer lacks one)
    array: Weights = layer.bias.detach().double().numpy()
    return array


def activation(b: Builder, x: Tensor, kind: str) -> Tensor:
    """ReLU, or exact GELU; opset 18 has no Gelu operator, but runtimes fuse these five nodes."""
    if kind == "relu":
        return b("Relu", x)
    curve = b("Add", b("Erf", b("Div", x, float(np.sqrt(2)))), 1.0)
    return b("Mul", b("Mul", x, curve), 0.5)


def tail(b: Builder, x: Tensor, mlp: MLP, shift: float = 0.0) -> Tensor:
    """The MLP after its first layer's sum: `[queries, hidden]` -> RGB `[queries, 3]`.

    The network predicts -1..1; the last layer is halved (and moved by `shift`) so that the
    graph's output is in the image's 0..1.
    """
    linears = mlp.linears
    for k, layer in enumerate(linears[1:], start=1):
        with b.scope(f"layer{k}"):
            x = activation(b, x, mlp.act)
            w, c = weight(layer).T, bias(layer)
            if layer is linears[-1]:
                w, c = w / 2, c / 2 + shift
            x = b("Add", b("MatMul", x, w), c)
    return x


def convolution(b: Builder, x: Tensor, kernel: Weights, constant: Weights) -> Tensor:
    """A square convolution of `[1, c, h, w]` without padding, so the output is smaller."""
    side = kernel.shape[-1]
    return b("Conv", x, kernel, constant, kernel_shape=[side, side])


def channels_last(b: Builder, x: Tensor) -> Tensor:
    """`[1, c, h, w]` -> `[h, w, c]`."""
    return b("Squeeze", b.transpose(x, 0, 2, 3, 1), ints(0))


def windows(
    b: Builder, x: Tensor, starts: Sequence[int], length: Tensor, axis: int, join: int
) -> Tensor:
    """Slices of `length` along `axis`, one for each start, joined along the axis `join`."""
    parts = []
    for start in starts:
        stop = b("Add", length, ints(start)) if start else length
        parts.append(b.slice(x, start, stop, axis))
    return b("Concat", *parts, axis=join) if len(parts) > 1 else parts[0]


def gather(b: Builder, maps: Tensor, pixel: Tensor, steps: NDArray[np.int64]) -> Tensor:
    """Read `maps [h, w, c]` at `pixel [q, 2]` (whole numbers, as floats) moved by `steps [s, 2]`.

    Returns: `[q, s, c]`.
    """
    moved = b("Add", b.unsqueeze(b("Cast", pixel, to=7), 1), steps[None])
    pitch = b("Concat", b.shape(maps, 1), ints(1), axis=0)
    index = b("ReduceSum", b("Mul", moved, pitch), ints(2), keepdims=0)
    return b("Gather", b.reshape(maps, -1, b.shape(maps, 2)), index, axis=0)
