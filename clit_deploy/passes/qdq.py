"""Inserts pairs of QuantizeLinear and DequantizeLinear (Q/DQ) where TensorRT expects them.

Both operands of a product (Conv, MatMul, Gemm) are symmetric int8; its bias and its result stay
float. A tensor is quantized as early as possible: before the operators that only move numbers, so
that windows are cut and joined as bytes.
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
"""Operators that move numbers without changing them."""

FLOAT_SCOPES = frozenset({"attention", "resample", "blend", "waves"})
"""Parts that compute logits, softmax and tables: errors there change exponents and positions."""

NARROW = 3
"""Widths up to this one are colors, coordinates and cells; their products stay float."""

LARGEST = 127
"""The largest value of symmetric int8."""

SMALLEST_STEP = 2.0**-24
"""The smallest number of FP16, because scales are FP16 in FP16 graphs."""


@dataclass(frozen=True)
class QuantOp:
    """A product that can be INT8."""

    node: str
    sources: tuple[str, ...]
    """The tensors that are quantized for it; operators between them and the product move bytes."""
    result: str
    """Its output."""
    depth: int | None
    """Reduction length (terms per output); None if the weight is not constant."""


def float32_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A graph with float32 weights, also where they are stored as float16."""
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
        if _quantizable(node)
    ]


def worthwhile(found: Sequence[QuantOp], thinnest: int) -> list[QuantOp]:
    """The products whose reduction has at least `thinnest` terms.

    Products that read the result of a shorter one are left out too, because that result would be
    quantized for them alone.
    """
    thin = {site.result for site in found if site.depth is not None and site.depth < thinnest}
    return [site for site in found if site.result not in thin and not thin & set(site.sources)]


def quantize(
    model: onnx.ModelProto, ranges: Mapping[str, float], nodes: Collection[str]
) -> onnx.ModelProto:
    """Make products INT8.

    Args:
        model: a float32 graph, as `float32_weights` returns it.
        ranges: quantization range (largest magnitude) of each source.
        nodes: names of the products, from those that `sites` returns.
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
    """Names of the products of a graph whose two operands are dequantized integers."""
    return [node.name for node in gs.import_onnx(model).nodes if is_int8(node)]


def is_int8(node: gs.Node) -> bool:
    """Whether a node is a product of dequantized integers."""
    makers = [x.inputs[0].op for x in node.inputs[:2] if x.inputs]
    return node.op in PRODUCTS and makers == ["DequantizeLinear"] * 2


def _quantizable(node: gs.Node) -> bool:
    scope = node.name.split("/")[0]
    if node.op not in PRODUCTS or scope in FLOAT_SCOPES:
        return False
    weight = node.inputs[1]
    if not isinstance(weight, gs.Constant):  # attention x (V W1), but not what makes the attention
        return bool(node.op == "MatMul" and scope == "layer0")
    return len(weight.shape) > 1 and min(_widths(node)) > NARROW


def _widths(node: gs.Node) -> tuple[int, int]:
    """Input and output channels of a product with a weight, in either order."""
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
    """The path from a tensor back to the node that computed its numbers."""

    def __init__(self, tensor: gs.Variable) -> None:
        self.tensor = tensor
        self.source, self.nodes = _back(tensor)

    def start(self, stored: gs.Variable) -> gs.Variable:
        """Start the path at the integers `stored`; returns its last tensor."""
        for node in self.nodes:
            node.inputs = [stored if x is self.source else x for x in node.inputs]
            node.outputs[0].dtype = stored.dtype
        return self.tensor if self.nodes else stored


def _back(tensor: gs.Variable) -> tuple[gs.Variable, list[gs.Node]]:
    """Follow a tensor back through moving operators without other readers."""
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
        """The float tensor at the end of a path that moves int8."""
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
        """A weight as an int8 constant and its DequantizeLinear, with a scale for each output
        channel. Weights with three axes have one scale, as ONNX Runtime has no other kernel."""
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
    """Scales of a weight: one for each index of an axis, or a single one; 1 for zeros."""
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
