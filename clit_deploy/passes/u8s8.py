"""Q/DQ in the form for which ONNX Runtime has fast CPU kernels; TensorRT would refuse it.

Those kernels multiply unsigned activations by signed weights, so activations move up by 128: the
same numbers. What is never negative (after ReLU or softmax) gets all 255 steps instead, twice as
fine, and ONNX Runtime drops the ReLU. A convolution is fast only if its result is quantised too;
that costs accuracy, which the search measures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from clit_deploy.passes.check_graph import check
from clit_deploy.passes.qdq import LARGEST, MOVING, add_node, is_int8

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import onnx

MIDDLE = np.uint8(128)
STEPS = 255
"""Of what is never negative."""

KEEPING_SIGN = MOVING - {"Concat"} | {"Split", "Clip"}
"""Operators whose first input tells whether their output can be negative."""


def to_u8s8(model: onnx.ModelProto, ranges: Mapping[str, float]) -> onnx.ModelProto:
    """Rewrite a quantised graph.

    Args:
        model: what `quantise` made.
        ranges: the largest magnitude that each convolution's result keeps.
    """
    graph = gs.import_onnx(model)
    for node in [node for node in graph.nodes if node.op == "QuantizeLinear"]:
        _unsigned(node)
    for node in [node for node in graph.nodes if node.op == "Conv" and is_int8(node)]:
        if not _ends_quantised(node) and node.outputs[0] not in graph.outputs:
            _close(graph, node.outputs[0], ranges)
    graph.cleanup(remove_unused_graph_inputs=False).toposort()
    return check(gs.export_onnx(graph))


def _unsigned(quantise: gs.Node) -> None:
    """uint8 from a QuantizeLinear to everything that reads it."""
    scale, zero = quantise.inputs[1].values, MIDDLE
    if _never_negative(quantise.inputs[0]):
        scale, zero = np.asarray(scale * (LARGEST / STEPS), np.float32), np.uint8(0)
    for node in (quantise, *_readers(quantise.outputs[0])):
        if node.op in MOVING:
            node.outputs[0].dtype = zero.dtype
            continue
        node.inputs[1] = gs.Constant(f"{node.name}:scale", scale)
        node.inputs[2] = gs.Constant(f"{node.name}:zero", np.asarray(zero))
    quantise.outputs[0].dtype = zero.dtype


def _readers(tensor: gs.Variable) -> Iterator[gs.Node]:
    """The dequantisations of a tensor, and what moves its numbers on the way."""
    for node in tensor.outputs:
        yield node
        if node.op in MOVING:
            yield from _readers(node.outputs[0])


def _never_negative(tensor: gs.Variable) -> bool:
    if not tensor.inputs:
        return False
    node = tensor.inputs[0]
    if node.op in KEEPING_SIGN:
        return _never_negative(node.inputs[0])
    return node.op in ("Relu", "Softmax")


def _ends_quantised(conv: gs.Node) -> bool:
    """Whether nothing but ReLU is between a convolution and what quantises it."""
    after = conv.outputs[0].outputs
    after = [reader for node in after for reader in _past_relu(node)]
    return all(node.op == "QuantizeLinear" for node in after)


def _past_relu(node: gs.Node) -> list[gs.Node]:
    return list(node.outputs[0].outputs) if node.op == "Relu" else [node]


def _close(graph: gs.Graph, result: gs.Variable, ranges: Mapping[str, float]) -> None:
    """Quantise a result for all that read it."""
    scale, readers = np.float32(ranges[result.name] / LARGEST), list(result.outputs)
    stored = add_node(graph, "QuantizeLinear", f"{result.name}/result", result, scale, MIDDLE)
    restored = add_node(graph, "DequantizeLinear", f"{result.name}/result", stored, scale, MIDDLE)
    for node in readers:
        node.inputs = [restored if x is result else x for x in node.inputs]
