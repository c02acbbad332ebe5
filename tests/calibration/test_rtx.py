"""TensorRT-RTX builds engines without a GPU; the graph inside tells the types of its products."""

from __future__ import annotations

import re

import onnx
import pytest

from clit_deploy.bundle import Plan
from clit_deploy.calibration.qdq import quantise, sites, widened

trt = pytest.importorskip("tensorrt_rtx")

DIMS = {
    "height": (24, 48, 48), "width": (24, 48, 48), "in_rows": (10, 20, 20), "in_cols": (10, 20, 20),
    "wide_rows": (8, 18, 18), "wide_cols": (8, 18, 18), "rows": (1, 2, 4), "cols": (1, 16, 16),
    "ny": (1, 4, 4), "nx": (1, 4, 4),
}  # fmt: skip


class Log(trt.ILogger):
    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.errors: list[str] = []

    def log(self, severity, message) -> None:
        if severity <= trt.ILogger.ERROR:
            self.errors.append(message)


LOG = Log()  # TensorRT takes one logger a process


def engine_of(graph: bytes, dims: dict[str, tuple[int, int, int]]) -> bytes:
    builder = trt.Builder(LOG)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, LOG)
    assert parser.parse(graph), [parser.get_error(k).desc() for k in range(parser.num_errors)]
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    profile = builder.create_optimization_profile()
    for value in onnx.load_model_from_string(graph).graph.input:
        shape = value.type.tensor_type.shape.dim
        sides = [dims[d.dim_param] if d.dim_param else (d.dim_value,) * 3 for d in shape]
        profile.set_shape(value.name, *(tuple(side[k] for side in sides) for k in range(3)))
    config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    assert engine is not None, LOG.errors
    return bytes(engine)


def operand_types(engine: bytes) -> dict[str, tuple[str, ...]]:
    """Types of the first two operands of every product of an engine, by the product's name."""
    text = b"\n".join(re.findall(rb"[\x09\x0a\x20-\x7e]{20,}", engine)).decode()
    found = re.findall(r'^\s*(?:sub_)?tensor=\{.*?name="([^"]+)".*type=(\w+)', text, re.MULTILINE)
    types = {name.split("^")[0]: kind for name, kind in found}
    pattern = r'(?:fully_connected|corrltn)=\{ name="([^"]*)".*? input=\{([^}]*)\}'
    products = {}
    for name, inputs in re.findall(pattern, text):
        names = [x.split("^")[0] for x in re.findall(r'"([^"]+)"', inputs)[:2]]
        products[name] = tuple(types.get(x, "unknown") for x in names)
    return products


@pytest.mark.parametrize(
    ("family", "member", "reach"),
    [
        ("clit", "encoder.onnx", 6),
        ("clit", "stage0.project.onnx", 6),
        ("clit", "stage0.decode.onnx", 6),
        ("liif", "stage0.project.onnx", 1),
        ("liif", "stage0.decode.onnx", 1),
    ],
)
def test_engines_hold_integer_products(plans, family, member, reach):
    model = widened(onnx.load_from_string(Plan.open(plans[family]).read(member)))
    found = sites(model)
    ranges = {source: 4.0 for site in found for source in site.sources}
    made = quantise(model, ranges, [site.node for site in found])
    dims = {**DIMS, "padded_cols": tuple(side + reach for side in DIMS["cols"])}
    products = operand_types(engine_of(made.SerializeToString(), dims))
    integers = [name for name, types in products.items() if types == ("int8", "int8")]
    assert len(integers) == len(found), products
