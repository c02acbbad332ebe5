"""FP32 graph -> strongly typed FP16 graph: types of every tensor are written down, none is left to
a runtime's flags.

Arithmetic is FP16 but for what `Fp32Rules` names; what only moves numbers keeps their type. Casts
stand where a reader wants another type than a tensor has, one for all readers.
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
"""Operators that do not compute: their output is FP16 where their input is."""

INSENSITIVE = frozenset({"Cast", "Constant", "ConstantOfShape", "Shape", "Size"})
"""Operators that take any type and state their own."""

QUANTISING = frozenset({"QuantizeLinear", "DequantizeLinear"})
QUANTISED_OPSET, QUANTISED_IR = 19, 9
"""The first ones in which these operators take FP16 and FP16 scales."""

INTER_GRAPH = frozenset({"features", "maps"})
"""Inputs and outputs that one graph hands to the next: they are FP16 too, half the traffic.
What meets the host (pictures, tables, cells, colours) stays FP32."""

LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Fp32Rules:
    """What stays FP32."""

    ops: frozenset[str] = frozenset(
        {"Softmax", "Clip", "LayerNormalization", "ReduceMean", "ReduceSum"}
    )
    """By operator: sums and exponentials over many numbers, and the floor of the attention."""
    scopes: frozenset[str] = frozenset()
    """By a part of the node's name, between slashes."""
    nodes: frozenset[str] = field(default_factory=frozenset)
    """By the node's whole name."""

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
        keep: what stays float32.
        device: inputs and outputs that become FP16.

    Returns: a model with the same inputs and outputs; of the names in `device` the type is
        FP16, of all others what it was.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return _Typing(copy, keep, device).run()


class _Typing:
    """One graph while its types are written."""

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
        """Append a node with its type decided and its inputs cast to it."""
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
        """The name of a tensor's copy of a type; weights are stored anew, others are cast."""
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
        """Give a graph output its type; its name stays, what made it is renamed."""
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
    """A weight as FP16; what is larger than FP16 can hold (a mask's -1e9) becomes its largest."""
    values = np.clip(numpy_helper.to_array(weight), -LARGEST, LARGEST)
    return numpy_helper.from_array(values.astype(np.float16), name)
