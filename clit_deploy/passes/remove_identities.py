"""Connect the readers of an Identity to its input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

if TYPE_CHECKING:
    import onnx


def remove_identities(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove every Identity that does not feed a graph output directly."""
    graph = gs.import_onnx(model)
    for node in [n for n in graph.nodes if n.op == "Identity"]:
        copied, copy = node.inputs[0], node.outputs[0]
        if copy in graph.outputs:
            continue
        for reader in list(copy.outputs):
            reader.inputs = [copied if x is copy else x for x in reader.inputs]
    graph.cleanup(remove_unused_graph_inputs=False).toposort()
    result: onnx.ModelProto = gs.export_onnx(graph)
    return result
