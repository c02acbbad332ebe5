"""Emulates an FP16 graph as an FP32 graph that any ONNX Runtime can run.

ONNX Runtime's CPU provider runs FP16 operators in FP32 and removes the casts between them, so its
results are more accurate than those of a device, which rounds every result. Here each result is
rounded to FP16's eleven bits, and numbers that FP16 cannot hold become NaN, by arithmetic that no
optimizer removes. Devices that fuse operators round less often; devices that accumulate in FP16
round more often.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from clit_deploy.passes.fp16_types import MOVERS, element_types

SPLIT = np.array((2.0**13 + 1) * 2.0**99, np.float32)
"""Veltkamp's constant (Dekker 1971) for 24 bits of FP32 minus 11 of FP16. It is so large that
numbers from 65528 overflow FP32; FP16 itself overflows at 65520."""
BACK = np.array(2.0**-99, np.float32)


def emulate_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """The FP32 emulation of an FP16 graph; its inputs and outputs are all float32."""
    half = {name for name, kind in element_types(model).items() if kind == TensorProto.FLOAT16}
    emulated = onnx.ModelProto()
    emulated.CopyFrom(model)
    _widen(emulated.graph, half)
    for name, constant in {"split": SPLIT, "back": BACK}.items():
        emulated.graph.initializer.append(numpy_helper.from_array(constant, name))
    nodes: list[onnx.NodeProto] = []
    for node in emulated.graph.node:
        rounded = [] if node.op_type in MOVERS else [name for name in node.output if name in half]
        node.output[:] = [f"{name}:exact" if name in rounded else name for name in node.output]
        nodes += [node, *(step for name in rounded for step in _rounding(f"{name}:exact", name))]
    del emulated.graph.node[:]
    emulated.graph.node.extend(nodes)
    return emulated


def _widen(graph: onnx.GraphProto, half: set[str]) -> None:
    """Change every FP16 type to FP32: inputs, outputs, weights and casts."""
    for value in (*graph.input, *graph.output):
        if value.name in half:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for weight in graph.initializer:
        if weight.name in half:
            wide = numpy_helper.to_array(weight).astype(np.float32)
            weight.CopyFrom(numpy_helper.from_array(wide, weight.name))
    for node in graph.node:
        if node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT16:
            node.attribute[0].i = TensorProto.FLOAT


def _rounding(exact: str, rounded: str) -> list[onnx.NodeProto]:
    """`c = x * (2^13 + 1); c - (c - x)` keeps the upper eleven bits of x."""
    far, c, rest = (f"{rounded}:{part}" for part in ("far", "c", "rest"))
    return [
        helper.make_node("Mul", [exact, "split"], [far]),
        helper.make_node("Mul", [far, "back"], [c]),
        helper.make_node("Sub", [c, exact], [rest]),
        helper.make_node("Sub", [c, rest], [rounded]),
    ]
