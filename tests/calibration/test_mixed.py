"""INT8 and FP16 in one plan: what TensorRT is given."""

import onnx
import pytest

import clit_deploy
from clit_deploy.bundle import Plan
from clit_deploy.export.passes.half import HANDED_ON, element_types
from tests.helpers import cli, photo, tiny_checkpoint, tiny_clit, tiny_liif

FLOAT, HALF, INT8 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT8


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed")
    made = {}
    for name, spec in {"clit": tiny_clit(stages=2), "liif": tiny_liif()}.items():
        checkpoint = tiny_checkpoint(folder, spec, f"{name}.pth")
        path = clit_deploy.export_checkpoint(checkpoint, precision="int8-fp16", max_drop=20)
        made[name] = Plan.open(path)
    return made


@pytest.mark.parametrize("name", ["clit", "liif"])
def test_products_are_int8_and_the_rest_is_fp16(mixed, name):
    plan = mixed[name]
    assert plan.manifest.precision == "int8-fp16"
    assert plan.manifest.quantization is not None
    assert plan.manifest.half is not None
    for member in plan.manifest.quantization.counts:
        model = onnx.load_model_from_string(plan.read(member))
        types = element_types(model)
        made_by = {output: node for node in model.graph.node for output in node.output}
        quantised = [node for node in model.graph.node if node.op_type == "DequantizeLinear"]
        assert quantised, member
        assert {types[node.input[0]] for node in quantised} == {INT8}
        kept = set(plan.manifest.half.nodes.get(member, []))
        for node in quantised:
            if node.name not in kept and member not in plan.manifest.half.graphs:
                assert types[node.output[0]] == HALF, f"{member}: {node.name}"
        for value in (*model.graph.input, *model.graph.output):
            assert types[value.name] == (HALF if value.name in HANDED_ON else FLOAT)
        convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
        for node in convolutions:
            source = made_by.get(node.input[0])
            assert source is None or source.op_type != "Cast", "a cast would part Q/DQ and product"


def test_it_runs_and_can_be_checked(mixed, tmp_path):
    with clit_deploy.load(mixed["liif"], runtime="cpu") as up:
        picture = up.upscale(photo(20, 20), scale=2)
    assert picture.std() > 0.01
    shown = cli("info", mixed["liif"].path).stdout
    assert "int8-fp16" in shown
    assert "grapes.png" in shown


@pytest.mark.parametrize("name", ["clit", "liif"])
def test_tensorrt_rtx_builds_it_with_both_types(mixed, name):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    from clit_deploy.engines.build import build_engines
    from clit_deploy.runtimes.build import BuildOptions
    from clit_deploy.runtimes.trt import Flavour, load_tensorrt
    from tests.calibration.test_rtx import operand_types
    from tests.engines.text import engine_types

    made, _ = build_engines(mixed[name], load_tensorrt(Flavour.RTX), BuildOptions(("8.6",)))
    (engines,) = made.manifest.engines
    counts = mixed[name].manifest.quantization.counts
    for engine in engines.engines:
        kinds = list(engine_types(made.read(engine.member)).values())
        if counts.get(engine.graph):
            assert kinds.count("half") > 2, engine.graph
            operands = operand_types(made.read(engine.member)).values()
            assert ("int8", "int8") in operands, engine.graph


def test_int8_for_processors_is_not_built(plans, mixed):
    from clit_deploy.engines.build import build_engines
    from clit_deploy.errors import BuildError
    from clit_deploy.runtimes.build import BuildOptions
    from tests.fakes.machine import Machine

    machine = Machine.make()
    plan = Plan.open(plans["liif"]).replaced({}, precision="int8")
    with pytest.raises(BuildError, match="precision int8-fp16"):
        build_engines(plan, machine.trt, BuildOptions(), gpu=machine.cuda.gpu)
