"""TensorRT-RTX builds engines without a GPU; the graph inside names the types of its products."""

from __future__ import annotations

import onnx
import pytest

from clit_deploy.engines.build import build_engines
from clit_deploy.export import checkpoint_export
from clit_deploy.models import load_checkpoint
from clit_deploy.passes.qdq import float32_weights, quantize, sites
from clit_deploy.plan.plan_file import Plan
from clit_deploy.runtimes.trt.engine_builder import BuildOptions
from clit_deploy.runtimes.trt.tensorrt_api import Flavour, load_tensorrt
from tests.engines.text import operand_types
from tests.helpers import tiny_checkpoint
from tests.test_published import published

trt = pytest.importorskip("tensorrt_rtx")

KINDS = ("project", "decode")
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
    found, graph = quantized(Plan.open(plans[family]).read(member))
    dims = {**DIMS, "padded_cols": tuple(side + reach for side in DIMS["cols"])}
    products = list(operand_types(engine_of(graph, dims)).values())
    assert products.count(("int8", "int8")) == len(found), products


@pytest.mark.slow
def test_clit_of_the_published_size_is_int8_in_tensorrt(tmp_path):
    source = load_checkpoint(tiny_checkpoint(tmp_path, published("edsr-baseline", 2)))
    plan = checkpoint_export.build_plan(source, lambda step: None)
    wanted = {}
    graphs = {}
    for member in ("encoder.onnx", *(f"stage{s}.{kind}.onnx" for s in (0, 1) for kind in KINDS)):
        found, graphs[member] = quantized(plan.read(member))
        wanted[member] = len(found)
    assert wanted["encoder.onnx"] == 33
    assert wanted["stage0.project.onnx"] == 2
    assert wanted["stage0.decode.onnx"] == wanted["stage1.decode.onnx"] == 19
    rtx = load_tensorrt(Flavour.RTX)
    made, _ = build_engines(plan.replaced(graphs), rtx, BuildOptions(("8.6",)))
    for engine in made.manifest.engines[0].engines:
        types = list(operand_types(made.read(engine.member)).values())
        integers = types.count(("int8", "int8"))
        if engine.graph == "stage1.project.onnx":  # its taps become one product
            assert integers >= 2
        elif engine.graph in wanted:
            assert integers == wanted[engine.graph] * len(engine.profiles), engine.graph


def quantized(graph):
    """The products of a graph that can be INT8, and the graph in which all of them are."""
    model = float32_weights(onnx.load_from_string(graph))
    found = sites(model)
    ranges = {source: 4.0 for site in found for source in site.sources}
    return found, quantize(model, ranges, [site.node for site in found]).SerializeToString()
