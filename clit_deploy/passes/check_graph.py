"""Refuse a graph that ONNX itself would not accept, or with operators that we rule out."""

from __future__ import annotations

import onnx

from clit_deploy.errors import GraphError

FORBIDDEN = frozenset({"GridSample", "GatherND", "Sin", "Cos", "Loop", "Scan", "If", "DFT"})
"""Operators that some TensorRT compiles wrongly, slowly or not at all."""


def check(model: onnx.ModelProto) -> onnx.ModelProto:
    """Run the ONNX checker with shape inference, and look at the operators.

    Raises:
        GraphError: the graph is not sound.
    """
    found = sorted({node.op_type for node in model.graph.node} & FORBIDDEN)
    if found:
        raise GraphError(f"The graph {model.graph.name} uses {', '.join(found)}.")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise GraphError(f"The graph {model.graph.name} is not valid ONNX: {error}") from error
    return model
