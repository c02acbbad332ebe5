"""Store large weights as float16, and cast them to float32 in the graph.

The file is half as large and the arithmetic is the same, because runtimes fold the casts when they
load the graph. The cost is that weights are rounded to eleven bits.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from clit_deploy.passes.fp16_types import LARGEST, QUANTISING

MIN_SIZE = 256
"""Smallest number of elements for which it is worth a cast."""


def store_fp16_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace every large float32 weight by a float16 one and a cast.

    Weights that overflow stay, and so do the scales of Q/DQ, which must be constants.
    """
    graph = model.graph
    steps = {name for node in graph.node if node.op_type in QUANTISING for name in node.input[1:]}
    casts = []
    for weight in list(graph.initializer):
        values = numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < MIN_SIZE or weight.name in steps:
            continue
        if np.abs(values).max() > LARGEST:
            continue
        stored = f"{weight.name}:half"
        graph.initializer.remove(weight)
        graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(
            onnx.helper.make_node(
                "Cast", [stored], [weight.name], f"{weight.name}/Widen", to=onnx.TensorProto.FLOAT
            )
        )
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return model
