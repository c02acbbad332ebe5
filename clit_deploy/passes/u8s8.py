"""Q/DQ in the U8S8 format, for which ONNX Runtime has fast CPU kernels, but which TensorRT refuses.

These kernels multiply unsigned activations by signed weights, so activations are shifted by 128,
which keeps their values. Activations that are never negative (after ReLU or softmax) use all 255
steps instead, which is twice as fine, and ONNX Runtime removes the ReLU. A convolution is fast only
if its result is quantized too; the calibration measures the loss.
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
"""Steps of activations that are never negative."""

KEEPING_SIGN = MOVING - {"Concat"} | {"Split", "Clip"}
"""Operators whose output can be negative only if their first input can."""


def to_u8s8(model: onnx.ModelProto, ranges: Mapping[str, float]) -> onnx.ModelProto:
    """Rewrite a quantized graph.

    Args:
        model: a graph that `quantize` returned.
        ranges: quantization range (largest magnitude) of each convolution's result.
    """
    graph = gs.import_onnx(model)
    for node in [node for node in graph.nodes if node.op == "QuantizeLinear"]:
        _unsigned(node)
    for node in [node for node in graph.nodes if node.op == "Conv" and is_int8(node)]:
        if not _ends_quantized(node) and node.outputs[0] not in graph.outputs:
            _close(graph, node.outputs[0], ranges)
    graph.cleanup(remove_unused_graph_inputs=False).toposort()
    return check(gs.export_onnx(graph))


def _unsigned(quantize: gs.Node) -> None:
    """Use uint8 from a QuantizeLinear to all its readers."""
    scale, zero = quantize.inputs[1].values, MIDDLE
    if _never_negative(quantize.inputs[0]):
        scale, zero = np.asarray(scale * (LARGEST / STEPS), np.float32), np.uint8(0)
    for node in (quantize, *_readers(quantize.outputs[0])):
        if node.op in MOVING:
            node.outputs[0].dtype = zero.dtype
            continue
        node.inputs[1] = gs.Constant(f"{node.name}:scale", scale)
        node.inputs[2] = gs.Constant(f"{node.name}:zero", np.asarray(zero))
    quantize.outputs[0].dtype = zero.dtype


def _readers(tensor: gs.Variable) -> Iterator[gs.Node]:
    """The DequantizeLinear nodes of a tensor, and the moving operators before them."""
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


def _ends_quantized(conv: gs.Node) -> bool:
    """Whether only ReLU is between a convolution and its QuantizeLinear."""
    after = conv.outputs[0].outputs
    after = [reader for node in after for reader in _past_relu(node)]
    return all(node.op == "QuantizeLinear" for node in after)


def _past_relu(node: gs.Node) -> list[gs.Node]:
    return list(node.outputs[0].outputs) if node.op == "Relu" else [node]


def _close(graph: gs.Graph, result: gs.Variable, ranges: Mapping[str, float]) -> None:
    """Quantize a result for all its readers."""
    scale, readers = np.float32(ranges[result.name] / LARGEST), list(result.outputs)
    stored = add_node(graph, "QuantizeLinear", f"{result.name}/result", result, scale, MIDDLE)
    restored = add_node(graph, "DequantizeLinear", f"{result.name}/result", stored, scale, MIDDLE)
    for node in readers:
        node.inputs = [restored if x is result else x for x in node.inputs]
