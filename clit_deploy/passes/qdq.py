"""Explicit quantise and dequantise pairs (Q/DQ) where TensorRT wants them.

Both operands of a product (Conv, MatMul, Gemm) are symmetric int8; its bias and what comes after it
stay float. A tensor is quantised as early as operators that only move numbers allow: windows are
then cut and joined as bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_graphsurgeon as gs

from clit_deploy.passes.check_graph import check

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import onnx
    from numpy.typing import NDArray

PRODUCTS = ("Conv", "MatMul", "Gemm")
MOVING = frozenset({"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Concat"})
"""Operators that move numbers and leave them as they are."""

FLOAT_SCOPES = frozenset({"attention", "resample", "blend", "waves"})
"""Where logits, softmax and tables are made: their errors are exponents, phases and places."""

NARROW = 3
"""Widths up to this one are colours, coordinates and cells; their products stay float."""

LARGEST = 127
"""Of symmetric int8."""

SMALLEST_STEP = 2.0**-24
"""The smallest number of FP16: steps are FP16 where what is around them is."""


@dataclass(frozen=True)
class QuantOp:
    """A product that can be INT8."""

    node: str
    sources: tuple[str, ...]
    """The tensors that are quantised for it; what is between them and the product moves bytes."""
    result: str
    """What it makes."""
    depth: int | None
    """Numbers that are multiplied and added up for each of its results, where a weight tells."""


def float32_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A graph whose weights may be stored as float16, with the float32 that it computes with."""
    graph = gs.import_onnx(model)
    for node in [node for node in graph.nodes if node.op == "Cast"]:
        if isinstance(node.inputs[0], gs.Constant):
            weight = node.outputs.pop()
            weight.to_constant(node.inputs[0].values.astype(np.float32))
    graph.cleanup(remove_unused_graph_inputs=False)
    result: onnx.ModelProto = gs.export_onnx(graph)
    return result


def sites(model: onnx.ModelProto) -> list[QuantOp]:
    """The products of a graph with float32 weights that can be INT8, in the graph's order."""
    return [
        QuantOp(
            node.name,
            tuple(_Route(x).source.name for _, x in _activations(node)),
            str(node.outputs[0].name),
            _depth(node),
        )
        for node in gs.import_onnx(model).nodes
        if _quantisable(node)
    ]


def worthwhile(found: Sequence[QuantOp], thinnest: int) -> list[QuantOp]:
    """The sites without products of fewer than `thinnest` numbers, and without those that read
    what such a product makes: it would be quantised for them alone."""
    thin = {site.result for site in found if site.depth is not None and site.depth < thinnest}
    return [site for site in found if site.result not in thin and not thin & set(site.sources)]


def quantise(
    model: onnx.ModelProto, ranges: Mapping[str, float], nodes: Collection[str]
) -> onnx.ModelProto:
    """Make products INT8.

    Args:
        model: a float32 graph, float32_weights.
        ranges: the largest magnitude that each source keeps.
        nodes: names of the products, of those that `sites` tells.
    """
    graph = gs.import_onnx(model)
    pairs = _Pairs(graph, ranges)
    for node in [node for node in graph.nodes if node.name in nodes]:
        for place, tensor in _activations(node):
            node.inputs[place] = pairs.activation(_Route(tensor))
        if isinstance(node.inputs[1], gs.Constant):
            node.inputs[1] = pairs.weight(node)
    graph.cleanup(remove_unused_graph_inputs=False).toposort()
    return check(gs.export_onnx(graph))


def int8_products(model: onnx.ModelProto) -> list[str]:
    """Names of the products of a graph whose two operands are dequantised integers."""
    return [node.name for node in gs.import_onnx(model).nodes if is_int8(node)]


def is_int8(node: gs.Node) -> bool:
    """Whether a node is a product of dequantised integers."""
    makers = [x.inputs[0].op for x in node.inputs[:2] if x.inputs]
    return node.op in PRODUCTS and makers == ["DequantizeLinear"] * 2


def _quantisable(node: gs.Node) -> bool:
    scope = node.name.split("/")[0]
    if node.op not in PRODUCTS or scope in FLOAT_SCOPES:
        return False
    weight = node.inputs[1]
    if not isinstance(weight, gs.Constant):  # attention x (V W1), but not what makes the attention
        return bool(node.op == "MatMul" and scope == "layer0")
    return len(weight.shape) > 1 and min(_widths(node)) > NARROW


def _widths(node: gs.Node) -> tuple[int, int]:
    """Channels that a weighted product reads and makes, in either order."""
    shape = node.inputs[1].shape
    return (shape[1], shape[0]) if node.op == "Conv" else (shape[-2], shape[-1])


def _activations(node: gs.Node) -> list[tuple[int, gs.Variable]]:
    return [(k, x) for k, x in enumerate(node.inputs[:2]) if isinstance(x, gs.Variable)]


def _depth(node: gs.Node) -> int | None:
    weight = node.inputs[1]
    if not isinstance(weight, gs.Constant):
        return None
    return int(np.prod(weight.shape[1:])) if node.op == "Conv" else int(_widths(node)[0])


class _Route:
    """The way of a tensor back to where its numbers were made."""

    def __init__(self, tensor: gs.Variable) -> None:
        self.tensor = tensor
        self.source, self.nodes = _back(tensor)

    def start(self, stored: gs.Variable) -> gs.Variable:
        """Let the route begin at the integers `stored`; returns what it ends with."""
        for node in self.nodes:
            node.inputs = [stored if x is self.source else x for x in node.inputs]
            node.outputs[0].dtype = stored.dtype
        return self.tensor if self.nodes else stored


def _back(tensor: gs.Variable) -> tuple[gs.Variable, list[gs.Node]]:
    """Follow a tensor back through operators that nothing else reads from."""
    if not tensor.inputs or tensor.inputs[0].op not in MOVING or len(tensor.outputs) > 1:
        return tensor, []
    node = tensor.inputs[0]
    moved = node.inputs if node.op == "Concat" else node.inputs[:1]
    ways = [_back(x) for x in moved if isinstance(x, gs.Variable)]
    if len(ways) < len(moved) or any(way[0] is not ways[0][0] for way in ways):
        return tensor, []
    return ways[0][0], [node, *(step for way in ways for step in way[1])]


class _Pairs:
    """The Q/DQ pairs of a graph; readers of one tensor share one."""

    def __init__(self, graph: gs.Graph, ranges: Mapping[str, float]) -> None:
        self._graph = graph
        self._ranges = ranges
        self._stored: dict[str, gs.Variable] = {}
        self._restored: dict[str, gs.Variable] = {}

    def activation(self, route: _Route) -> gs.Variable:
        """The float tensor at the end of a route whose numbers are int8 on the way."""
        name, source = route.tensor.name, route.source
        if name not in self._restored:
            scale = np.float32(self._ranges[source.name] / LARGEST)
            if source.name not in self._stored:
                self._stored[source.name] = add_node(
                    self._graph, "QuantizeLinear", source.name, source, scale, np.int8(0)
                )
            end = route.start(self._stored[source.name])
            self._restored[name] = add_node(
                self._graph, "DequantizeLinear", name, end, scale, np.int8(0)
            )
        return self._restored[name]

    def weight(self, node: gs.Node) -> gs.Variable:
        """A weight as int8 constant and its dequantisation: a scale for each output channel, or
        one for all where the weight has three axes, for which ONNX Runtime has no such kernel."""
        values = node.inputs[1].values
        axis = 0 if node.op == "Conv" or node.attrs.get("transB") else values.ndim - 1
        scale = weight_steps(values, None if values.ndim == 3 else axis)
        spread = scale.reshape([-1 if k == axis else 1 for k in range(values.ndim)])
        whole = np.clip(np.rint(values / spread), -LARGEST, LARGEST).astype(np.int8)
        name = node.inputs[1].name
        stored = gs.Constant(f"{name}:int8", whole)
        zero = np.zeros(scale.shape, np.int8)
        attrs = {"axis": axis} if scale.ndim else {}
        return add_node(self._graph, "DequantizeLinear", name, stored, scale, zero, **attrs)


def weight_steps(values: NDArray[np.float32], axis: int | None) -> NDArray[np.float32]:
    """Steps of a weight: one for each place of an axis, or one for all; 1 where all is zero."""
    others = None if axis is None else tuple(k for k in range(values.ndim) if k != axis)
    largest = np.abs(values).max(axis=others)
    steps = np.where(largest > 0, np.maximum(largest / LARGEST, SMALLEST_STEP), 1.0)
    return np.asarray(steps, np.float32)


def add_node(
    graph: gs.Graph, op: str, name: str, x: gs.Tensor, scale: Any, zero: Any, **attrs: int
) -> gs.Variable:
    """Append a QuantizeLinear or DequantizeLinear; returns its output."""
    title = f"{name}/{op}"
    parts = [
        gs.Constant(f"{title}:scale", np.asarray(scale)),
        gs.Constant(f"{title}:zero", np.asarray(zero)),
    ]
    kind = np.asarray(zero).dtype if op == "QuantizeLinear" else np.dtype(np.float32)
    made = gs.Variable(f"{title}:0", kind)
    graph.nodes.append(gs.Node(op, title, attrs, [x, *parts], [made]))
    return made
