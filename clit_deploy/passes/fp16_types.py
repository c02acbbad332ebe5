"""FP32 graph -> strongly typed FP16 graph: every tensor has a type, whatever a runtime's flags are.

Arithmetic is FP16 except where `Fp32Rules` applies. Operators that only move numbers keep their
type. If a reader needs another type than a tensor has, a cast is inserted, one for all readers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MOVERS = frozenset(
    {"Concat", "Expand", "Flatten", "Gather", "GatherElements", "Identity", "Pad", "Reshape",
     "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where"}
)  # fmt: skip
"""Operators that do not compute: their output has the type of their input."""

INSENSITIVE = frozenset({"Cast", "Constant", "ConstantOfShape", "Shape", "Size"})
"""Operators that accept any type and define their output's type."""

QUANTISING = frozenset({"QuantizeLinear", "DequantizeLinear"})
QUANTISED_OPSET, QUANTISED_IR = 19, 9
"""The first versions in which these operators accept FP16 and FP16 scales."""

INTER_GRAPH = frozenset({"features", "maps"})
"""Tensors that one graph passes to the next: they are FP16 too, which halves the traffic. Tensors
from or to the host (images, tables, cells, colors) stay FP32."""

LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Fp32Rules:
    """The nodes that stay FP32."""

    ops: frozenset[str] = frozenset(
        {"Softmax", "Clip", "LayerNormalization", "ReduceMean", "ReduceSum"}
    )
    """By operator: sums and exponentials over many numbers, and lower bounds in the attention."""
    scopes: frozenset[str] = frozenset()
    """By a part of the node's name between slashes."""
    nodes: frozenset[str] = field(default_factory=frozenset)
    """By the node's full name."""

    def holds(self, node: onnx.NodeProto) -> bool:
        """Whether a node stays FP32."""
        parts = node.name.split("/")
        return node.op_type in self.ops or node.name in self.nodes or bool(self.scopes & {*parts})


def to_fp16(
    model: onnx.ModelProto, keep: Fp32Rules, device: frozenset[str] = INTER_GRAPH
) -> onnx.ModelProto:
    """A copy of `model` with FP16 arithmetic.

    Args:
        model: float32, valid, constants folded; Q/DQ nodes get FP16 scales.
        keep: the nodes that stay float32.
        device: inputs and outputs that become FP16.

    Returns: a model with the same inputs and outputs; those in `device` are FP16, all others keep
        their type.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return _Typing(copy, keep, device).run()


class _Typing:
    """Assigns the types of one graph."""

    def __init__(self, model: onnx.ModelProto, keep: Fp32Rules, device: frozenset[str]) -> None:
        self.model, self.graph, self.keep, self.device = model, model.graph, keep, device
        self.weights = {weight.name: weight for weight in self.graph.initializer}
        self.types = element_types(model)
        self.made: list[onnx.NodeProto] = []
        self.casts: dict[tuple[str, int], str] = {}

    def run(self) -> onnx.ModelProto:
        wanted = {value.name: self._border(value) for value in self.graph.output}
        self.floats = {name for name, kind in self.types.items() if kind == TensorProto.FLOAT}
        for value in self.graph.input:
            self.types[value.name] = self._border(value)
        for node in self.graph.node:
            self._place(node)
        for name, kind in wanted.items():
            self._finish(name, kind)
        if any(node.op_type in QUANTISING for node in self.made):
            self.model.ir_version, self.model.opset_import[0].version = (
                QUANTISED_IR,
                QUANTISED_OPSET,
            )
        del self.graph.node[:]
        self.graph.node.extend(self.made)
        del self.graph.value_info[:]
        self._drop_unread()
        return self.model

    def _border(self, value: onnx.ValueInfoProto) -> int:
        tensor = value.type.tensor_type
        if tensor.elem_type == TensorProto.FLOAT and value.name in self.device:
            tensor.elem_type = TensorProto.FLOAT16
        return int(tensor.elem_type)

    def _place(self, node: onnx.NodeProto) -> None:
        """Append a node, and cast its inputs to its type."""
        if node.op_type not in INSENSITIVE:
            kind = self._kind(node)
            node.input[:] = [self._as(name, kind) for name in node.input]
            for name in node.output:
                if name in self.floats:
                    self.types[name] = kind
        self.made.append(node)

    def _kind(self, node: onnx.NodeProto) -> int:
        if node.op_type in MOVERS and not self.keep.holds(node):
            moved = [name for name in node.input if name in self.floats]
            kinds = {self.types[name] for name in moved if name not in self.weights}
            return TensorProto.FLOAT if kinds == {TensorProto.FLOAT} else TensorProto.FLOAT16
        return TensorProto.FLOAT if self.keep.holds(node) else TensorProto.FLOAT16

    def _as(self, name: str, kind: int) -> str:
        """The name of a tensor in another type: a new weight, or the output of a cast."""
        if name not in self.floats or self.types[name] == kind:
            return name
        if (name, kind) not in self.casts:
            made = f"{name}:{'fp16' if kind == TensorProto.FLOAT16 else 'fp32'}"
            if name in self.weights:
                self.graph.initializer.append(_stored(self.weights[name], made))
            else:
                self.made.append(helper.make_node("Cast", [name], [made], f"{made}/Cast", to=kind))
            self.casts[name, kind] = made
        return self.casts[name, kind]

    def _finish(self, name: str, kind: int) -> None:
        """Give a graph output its type; its name stays, and the tensor before it is renamed."""
        if name not in self.floats or self.types[name] == kind:
            return
        inner = f"{name}:inner"
        for node in self.made:
            node.input[:] = [inner if x == name else x for x in node.input]
            node.output[:] = [inner if x == name else x for x in node.output]
        self.made.append(helper.make_node("Cast", [inner], [name], f"{name}/Cast", to=kind))

    def _drop_unread(self) -> None:
        read = {name for node in self.graph.node for name in node.input}
        kept = [weight for weight in self.graph.initializer if weight.name in read]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    """The element type of every tensor of a graph, by name."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = [*graph.value_info, *graph.input, *graph.output]
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return {**types, **{weight.name: weight.data_type for weight in graph.initializer}}


def _stored(weight: onnx.TensorProto, name: str) -> onnx.TensorProto:
    """A weight as FP16; numbers beyond its range (a mask's -1e9) are clipped."""
    values = np.clip(numpy_helper.to_array(weight), -LARGEST, LARGEST)
    return numpy_helper.from_array(values.astype(np.float16), name)
