"""Evaluate what depends on constants only, and drop what nothing reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

if TYPE_CHECKING:
    import onnx


def fold_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fold constants with onnx-graphsurgeon; shapes that stay symbolic are left alone."""
    graph = gs.import_onnx(model)
    graph.fold_constants(fold_shapes=False)
    graph.cleanup(remove_unused_graph_inputs=False).toposort()
    result: onnx.ModelProto = gs.export_onnx(graph)
    return result
