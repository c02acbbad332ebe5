"""Refuse a graph that is not valid ONNX, or that `Plan.read` would refuse."""

from __future__ import annotations

import onnx

from clit_deploy.errors import GraphError
from clit_deploy.plan.safe_graph import check_safe


def check(model: onnx.ModelProto) -> onnx.ModelProto:
    """Run the ONNX checker with shape inference, and the rules for graphs in plans.

    Raises:
        GraphError: the graph is not valid, or contains something that plans must not contain.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise GraphError(f"The graph {model.graph.name} is not valid ONNX: {error}") from error
    try:
        check_safe(model.SerializeToString())
    except GraphError as error:
        raise GraphError(f"A plan cannot hold the graph {model.graph.name}: {error}") from None
    return model
