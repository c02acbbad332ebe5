"""Refuses graphs that could do more than compute.

A plan may come from a stranger, and its digests come from the same hand. ONNX lets a graph name
local files as its weights, call custom operators, load compiled blobs and loop. The graphs of this
package contain none of that, so only what they contain is accepted. `Plan.read` calls
`check_safe` before any runtime or library sees the bytes, and the export calls it before it writes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from clit_deploy.errors import GraphError, quote
from clit_deploy.plan.protobuf import Message, Reader

OPERATORS = frozenset(
    {"Add", "Cast", "Clip", "Concat", "Conv", "DequantizeLinear", "Div", "Equal", "Erf", "Floor",
     "Gather", "Gemm", "Identity", "LayerNormalization", "LeakyRelu", "MatMul", "Max", "Min", "Mul",
     "QuantizeLinear", "Range", "ReduceMean", "ReduceSum", "Relu", "Reshape", "Round", "Shape",
     "Sigmoid", "Slice", "Softmax", "Split", "Sqrt", "Squeeze", "Sub", "Transpose", "Unsqueeze"}
)  # fmt: skip
"""Operators that `export/` and `passes/` write; a new encoder may add to them. Do not add `Loop`,
`Scan` and `If` (they run graphs of their own), or `GridSample`, `GatherND`, `Sin`, `Cos` and `DFT`
(some TensorRT compiles them wrongly, slowly or not at all)."""

MAX_NODES = 10_000
MAX_INPUTS = 16

SCHEMA = {
    "model": {1: "int", 2: "text", 3: "text", 7: "graph", 8: "opset"},
    "opset": {1: "text", 2: "int"},
    "graph": {1: "node", 2: "text", 5: "tensor", 11: "value", 12: "value", 13: "value"},
    "node": {1: "text", 2: "text", 3: "text", 4: "text", 5: "attribute", 7: "text"},
    "attribute": {1: "text", 2: "float", 3: "int", 4: "text", 7: "float", 8: "int", 20: "int"},
    "tensor": {1: "int", 2: "int", 8: "text", 9: "bytes", 14: "int"},
    "value": {1: "text", 2: "type"},
    "type": {1: "tensor type"},
    "tensor type": {1: "int", 2: "shape"},
    "shape": {1: "dim"},
    "dim": {1: "int", 2: "text"},
}
"""Fields of onnx.proto that our graphs use."""

REFUSED = {
    ("model", 14): "metadata",
    ("model", 20): "a training graph",
    ("model", 25): "functions",
    ("graph", 15): "sparse weights",
    ("attribute", 5): "a tensor as an attribute",
    ("attribute", 6): "a nested graph",
    ("attribute", 10): "tensors as an attribute",
    ("attribute", 11): "nested graphs",
    ("attribute", 21): "attributes of a function",
    ("attribute", 22): "a sparse tensor as an attribute",
    ("attribute", 23): "sparse tensors as an attribute",
    ("tensor", 13): "weights in another file (external data)",
}

ITEM_SIZES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8}
"""Bytes by ONNX element type: float, uint8, int8, int32, int64, bool, float16, double."""

FLOATS = {1, 10}


class Role(NamedTuple):
    """What a graph of a plan has to look like from outside."""

    inputs: frozenset[str]
    """Inputs that it must have."""
    output: str
    rank: int
    """Dimensions of the output."""
    axis: int | None = None
    """Dimension of the output that the manifest's number of channels is for."""
    more: bool = True
    """Whether tables of the family may be further inputs."""


ROLES = {
    "encoder": Role(frozenset({"image"}), "features", 4, axis=1, more=False),
    "project": Role(frozenset({"features"}), "maps", 3, axis=2),
    "decode": Role(frozenset({"maps"}), "rgb", 5),
    "point": Role(frozenset({"maps", "pixel"}), "rgb", 2),
    "attention": Role(frozenset({"maps", "pixel"}), "attention", 3),
    "pairs": Role(frozenset({"offset"}), "bias", 3, more=False),
}


def check_safe(content: bytes, role: Role | None = None, channels: int | None = None) -> None:
    """Refuse a graph that contains anything that our graphs never contain.

    Args:
        content: a serialized ONNX model.
        role: what the plan uses it for; None checks only the inside.
        channels: channels of its features or maps, as the manifest has them.

    Raises:
        GraphError: what was found.
    """
    try:
        model = Reader(SCHEMA, REFUSED).read("model", memoryview(content))
        _check(model)
        if role:
            _check_role(model[7][0], role, channels)
    except ValueError as error:
        raise GraphError(f"it contains {error}.") from None


def _check(model: Message) -> None:
    graphs = model.get(7, [])
    if len(graphs) != 1:
        raise ValueError(f"{len(graphs)} graphs instead of one")
    for opset in model.get(8, []):
        _check_domain(opset.get(1, []))
    (graph,) = graphs
    nodes = graph.get(1, [])
    if len(nodes) > MAX_NODES:
        raise ValueError(f"{len(nodes)} operators, more than {MAX_NODES}")
    for node in nodes:
        _check_node(node)
    for tensor in graph.get(5, []):
        _check_weight(tensor)


def _check_domain(domains: list[str]) -> None:
    for domain in domains:
        if domain:
            raise ValueError(f"operators of the domain {quote(domain)}")


def _check_node(node: Message) -> None:
    _check_domain(node.get(7, []))
    for name in node.get(4, [""]):
        if name not in OPERATORS:
            raise ValueError(
                f"the operator {quote(name)}, which is not in clit_deploy/plan/safe_graph.py"
            )


def _check_weight(tensor: Message) -> None:
    """Weights are in the file, and as long as their shape says, so that no runtime takes memory
    for numbers that are missing."""
    if any(tensor.get(14, [])):  # data_location: anything but DEFAULT
        raise ValueError(REFUSED["tensor", 13])
    kinds, contents = tensor.get(2, []), tensor.get(9, [memoryview(b"")])
    if len(kinds) != 1 or kinds[0] not in ITEM_SIZES or len(contents) != 1:
        raise ValueError(f"weights of an unknown type {quote(kinds)}")
    if math.prod(tensor.get(1, [])) * ITEM_SIZES[kinds[0]] != len(contents[0]):
        raise ValueError("weights of another size than their shape")


def _check_role(graph: Message, role: Role, channels: int | None) -> None:
    weights = {_name(tensor, 8) for tensor in graph.get(5, [])}
    inputs = [_name(value) for value in graph.get(11, [])]
    outputs = graph.get(12, [])
    named = set(inputs)
    if len(named) != len(inputs) or len(inputs) > MAX_INPUTS or named & weights:
        raise ValueError("inputs that repeat, are weights, or are too many")
    if not role.inputs <= named or (named != role.inputs and not role.more):
        raise ValueError(f"inputs {quote(sorted(named))} instead of {sorted(role.inputs)}")
    if [_name(value) for value in outputs] != [role.output]:
        raise ValueError(f"outputs other than {role.output!r}")
    dims = _dims(outputs[0])
    if dims is None or len(dims) != role.rank:
        raise ValueError(f"an output that is not a float tensor of {role.rank} dimensions")
    if channels and role.axis and dims[role.axis].get(1) != [channels]:
        raise ValueError(f"{role.output} without the {channels} channels of the manifest")
    for value in graph.get(11, []):
        if _dims(value) is None:
            raise ValueError(f"an input {quote(_name(value))} that is not a float tensor")


def _dims(value: Message) -> list[Message] | None:
    """Dimensions of an input or output; None if it is not a float tensor of known rank."""
    try:
        (kind,) = value[2]
        (tensor,) = kind[1]
        (element,), (shape,) = tensor[1], tensor[2]
    except (KeyError, ValueError):
        return None
    return shape.get(1, []) if element in FLOATS else None


def _name(message: Message, field: int = 1) -> str:
    """A name that occurs once; empty if it does not."""
    found = message.get(field, [])
    return str(found[0]) if len(found) == 1 else ""
