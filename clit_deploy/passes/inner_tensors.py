"""Sessions that also return inner tensors of a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import onnxruntime as ort

if TYPE_CHECKING:
    from collections.abc import Iterable


def session_with(model: onnx.ModelProto, tensors: Iterable[str]) -> ort.InferenceSession:
    """A session on the CPU that returns `tensors` after the graph's own outputs.

    The model is not changed.
    """
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    known = {value.name for value in opened.graph.output}
    opened.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in tensors if name not in known
    )
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False
    return ort.InferenceSession(
        opened.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
