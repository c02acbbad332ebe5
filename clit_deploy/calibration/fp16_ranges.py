"""Which tensors of a graph FP16 cannot represent, found on real inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, numpy_helper

from clit_deploy.passes.fp16_types import LARGEST, QUANTISING, element_types
from clit_deploy.passes.inner_tensors import session_with

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx

    from clit_deploy.runtimes.protocols import Array

MARGIN = 4.0
"""Other images may reach this many times the magnitudes that were measured."""

SMALLEST_NORMAL = float(np.finfo(np.float16).tiny)
"""A tensor below this everywhere has lost bits."""


def largest(model: onnx.ModelProto, runs: Sequence[Mapping[str, Array]]) -> dict[str, float]:
    """The largest magnitude of every float32 tensor and weight, in the graph's order; NaN if a
    tensor contains NaN.

    Steps of int8 tensors are left out: they are small, and the loss by rounding them is measured.

    Args:
        model: float32.
        runs: all inputs of the graph, by name, for each run.
    """
    types = element_types(model)
    inner = [
        x for node in model.graph.node for x in node.output if types.get(x) == TensorProto.FLOAT
    ]
    session = session_with(model, inner)
    wanted = [value.name for value in session.get_inputs()]
    steps = {node.input[1] for node in model.graph.node if node.op_type in QUANTISING}
    found = {
        weight.name: _magnitude(numpy_helper.to_array(weight))
        for weight in model.graph.initializer
        if weight.data_type == TensorProto.FLOAT and weight.name not in steps
    }
    found |= dict.fromkeys([*wanted, *inner], 0.0)
    for feeds in runs:
        values = session.run(inner, {name: feeds[name] for name in wanted})
        for name, value in [*zip(inner, values, strict=True), *feeds.items()]:
            if name in found:
                # Unlike Python's max, this keeps NaN on either side.
                found[name] = float(np.maximum(found[name], _magnitude(np.asarray(value))))
    return found


def unfit(magnitudes: Mapping[str, float]) -> dict[str, float]:
    """Those that FP16 cannot represent: too large, not finite, or too small everywhere."""
    return {
        name: value
        for name, value in magnitudes.items()
        if not value * MARGIN <= LARGEST or 0 < value < SMALLEST_NORMAL
    }


def _magnitude(values: np.ndarray) -> float:
    return float(np.abs(values).max()) if values.size else 0.0
