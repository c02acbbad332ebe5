"""Evaluate nodes that depend only on constants, and remove nodes that nothing reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

if TYPE_CHECKING:
    import onnx


def fold_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fold constants with onnx-graphsurgeon; symbolic shapes stay."""
    graph = gs.import_onnx(model)
    graph.fold_constants(fold_shapes=False)
    graph.cleanup(remove_unused_graph_inputs=False).toposort()
    result: onnx.ModelProto = gs.export_onnx(graph)
    return result
