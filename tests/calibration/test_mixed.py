"""INT8 and FP16 in one plan, for TensorRT."""

import json

import numpy as np
import onnx
import pytest
import torch

import clit_deploy
from clit_deploy.cli.report import engine_line
from clit_deploy.engines import forms as forms_module
from clit_deploy.engines.build import build_engines
from clit_deploy.engines.forms import in_float_form
from clit_deploy.engines.store import build_into
from clit_deploy.errors import BuildError
from clit_deploy.passes.fp16_types import INTER_GRAPH, element_types
from clit_deploy.plan.plan_file import Plan
from clit_deploy.runtimes.trt.engine_builder import BuildOptions
from clit_deploy.runtimes.trt.tensorrt_api import Flavour, load_tensorrt
from tests.engines.offers import SMALL
from tests.engines.text import engine_types, operand_types
from tests.fakes.machine import Machine
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
        quantized = [node for node in model.graph.node if node.op_type == "DequantizeLinear"]
        assert quantized, member
        assert {types[node.input[0]] for node in quantized} == {INT8}
        kept = set(plan.manifest.half.nodes.get(member, []))
        for node in quantized:
            if node.name not in kept and member not in plan.manifest.half.graphs:
                assert types[node.output[0]] == HALF, f"{member}: {node.name}"
        for value in (*model.graph.input, *model.graph.output):
            assert types[value.name] == (HALF if value.name in INTER_GRAPH else FLOAT)
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


def built(plan):
    """The plan with engines of TensorRT-RTX."""
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    return build_engines(plan, load_tensorrt(Flavour.RTX), BuildOptions(("8.6",)))[0]


@pytest.mark.parametrize("name", ["clit", "liif"])
def test_tensorrt_rtx_builds_it_with_both_types(mixed, name):
    plan = built(mixed[name])
    counts = plan.manifest.quantization.counts
    for engine in plan.manifest.engines[0].engines:
        if counts.get(engine.graph):
            content = plan.read(engine.member)
            assert list(engine_types(content).values()).count("half") > 2, engine.graph
            integers = list(operand_types(content).values()).count(("int8", "int8"))
            if engine.graph == "stage1.project.onnx":  # its taps become one product
                assert integers >= 2
            else:
                assert integers == counts[engine.graph] * len(engine.profiles), engine.graph


def test_a_channel_of_zeros_has_a_step_that_tensorrt_takes(tmp_path):
    """Pruned models have such channels; a step of zero is refused."""
    checkpoint = tiny_checkpoint(tmp_path, tiny_liif())
    content = torch.load(checkpoint, weights_only=True)
    weights = content["model"]["sd"]
    name = next(name for name in weights if "encoder.body" in name and name.endswith("weight"))
    weights[name][0] = 0
    weights[name.replace("weight", "bias")][:] = 0
    weights[name][1:] *= 1e-9
    torch.save(content, checkpoint)
    path = clit_deploy.export_checkpoint(checkpoint, precision="int8-fp16", max_drop=20)
    assert built(Plan.open(path)).manifest.engines


def test_a_plan_that_exists_is_calibrated_for_tensorrt(plans, tmp_path):
    options = ["--precision", "int8-fp16", "--max-drop", "20"]
    done = cli("calibrate", plans["liif-plain"], "-o", tmp_path / "a.plan", *options)
    assert done.returncode == 0, done.stderr
    assert "before FP16; a loss of 19.99 dB is allowed" in done.stdout
    plan = Plan.open(tmp_path / "a.plan")
    assert plan.manifest.precision == "int8-fp16"
    assert "INT8 in FP32" in cli("info", plan.path).stdout


def test_int8_for_cpus_is_not_built(plans):
    machine = Machine.make()
    plan = Plan.open(plans["liif"]).replaced({}, precision="int8")
    with pytest.raises(BuildError, match="precision int8-fp16"):
        build_engines(plan, machine.trt, BuildOptions(), gpu=machine.cuda.gpu)


def test_both_forms_are_in_the_plan_and_are_the_same_function(mixed):
    plan = mixed["liif"]
    forms = plan.manifest.float_forms
    assert set(forms) == {name for name, n in plan.manifest.quantization.counts.items() if n}
    for graph, form in forms.items():
        typed, plain = (onnx.load_model_from_string(plan.read(name)) for name in (graph, form))
        assert not {"QuantizeLinear", "DequantizeLinear"} & {n.op_type for n in plain.graph.node}
        for k in ("input", "output"):
            assert str(getattr(typed.graph, k)) == str(getattr(plain.graph, k))
    image, floats = photo(20, 20), in_float_form(plan, set(forms))
    with (
        clit_deploy.load(plan, runtime="cpu") as one,
        clit_deploy.load(floats, runtime="cpu") as two,
    ):
        pictures = [up.upscale(image, scale=2) for up in (one, two)]
    assert 0 < np.abs(pictures[0] - pictures[1]).max() < 0.2


@pytest.mark.parametrize("faster", [[], ["encoder.onnx"], None])
def test_build_times_both_forms_and_keeps_the_faster(mixed, tmp_path, monkeypatch, faster):
    """On the simulated device both take as long, so INT8 stays unless a test says otherwise."""
    machine, path = Machine.make(), mixed["liif"].save(tmp_path / "model.plan")
    timed, forms = [], mixed["liif"].manifest.float_forms
    wanted = set(forms) if faster is None else set(faster)
    real = forms_module.milliseconds

    def milliseconds(plan, engines, *where):
        timed.append(real(plan, engines, *where))
        first = len(timed) == 1
        return {
            name: ms + (1 if first == (name in wanted) else 0) for name, ms in timed[-1].items()
        }

    monkeypatch.setattr(forms_module, "milliseconds", milliseconds)
    plan = build_into(Plan.open(path), machine.trt, BuildOptions(), SMALL, machine.cuda)
    (made,) = plan.manifest.engines
    assert [set(times) for times in timed] == [{x.graph for x in made.engines}, set(forms)]
    assert all(ms > 0 for times in timed for ms in times.values())
    assert {x.graph: x.source for x in made.engines if x.source} == {g: forms[g] for g in wanted}
    assert made.relative_error <= 2e-3, "each is compared with the form that it was built from"
    for engine in made.engines:
        content = json.loads(plan.read(engine.member)[len(b"FAKEENGINE") :])
        assert bytes.fromhex(content["graph"]) == plan.read(engine.built_from)
    assert machine.runtime(plan).engines == made
    assert (f"{len(wanted)} graphs in FP16" in engine_line(made)) is bool(wanted)
    again = build_into(Plan.open(path), machine.trt, BuildOptions(), SMALL, machine.cuda)
    assert again.manifest.engines == plan.manifest.engines, "and nothing is built twice"
