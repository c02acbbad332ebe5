"""Remove metadata of the tracer: file paths, stack traces, documentation strings."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def strip_metadata(model: onnx.ModelProto) -> onnx.ModelProto:
    """Clear doc strings and metadata, so that equal models give equal bytes."""
    for item in [model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output]:
        item.ClearField("doc_string")
        if "metadata_props" in item.DESCRIPTOR.fields_by_name:
            item.ClearField("metadata_props")
    del model.graph.value_info[:]
    return model
