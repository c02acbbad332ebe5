"""FP16: types of every tensor, what stays FP32, and the loss."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import clit_deploy
from clit_deploy.calibration import fp16
from clit_deploy.calibration.fp16 import FP32_RULES
from clit_deploy.calibration.fp16_ranges import largest, unfit
from clit_deploy.errors import OptionError, ParityError
from clit_deploy.models import build_model
from clit_deploy.passes.check_graph import check
from clit_deploy.passes.fp16_emulation import emulate_fp16
from clit_deploy.passes.fp16_types import INSENSITIVE, INTER_GRAPH, MOVERS, element_types, to_fp16
from clit_deploy.plan.manifest import ScaleDrop
from clit_deploy.plan.plan_file import Plan
from clit_deploy.quality.evaluate import evaluate
from tests.helpers import (
    DATA,
    cli,
    photo,
    ruled_weights,
    save_checkpoint,
    tiny_checkpoint,
    tiny_liif,
)

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def graphs(plan):
    names = [name for name in plan.manifest.digests if name.endswith(".onnx")]
    return {name: onnx.load_model_from_string(plan.read(name)) for name in names}


def test_every_tensor_of_every_graph_has_the_type_that_the_rules_give(plan):
    for name, model in graphs(plan).items():
        half = check(to_fp16(model, FP32_RULES))
        types = element_types(half)
        for value in (*half.graph.input, *half.graph.output):
            assert types[value.name] == (HALF if value.name in INTER_GRAPH else FLOAT), name
        for node in half.graph.node:
            if node.op_type in INSENSITIVE:
                continue
            kinds = {types[x] for x in (*node.input, *node.output) if x} & {FLOAT, HALF}
            assert len(kinds) <= 1, f"{name}: {node.name} mixes types"
            if kinds and node.op_type not in MOVERS:
                assert kinds == {FLOAT if FP32_RULES.holds(node) else HALF}, f"{name}: {node.name}"


def test_casts_stand_only_where_types_change_and_once_for_all_readers(plan):
    for model in graphs(plan).values():
        half = to_fp16(model, FP32_RULES)
        types = element_types(half)
        floats = [
            n for n in half.graph.node if n.op_type == "Cast" and types[n.input[0]] in (FLOAT, HALF)
        ]
        made = [
            (n.input[0], types[n.output[0]]) for n in floats if types[n.output[0]] in (FLOAT, HALF)
        ]
        assert len(made) == len(set(made))
        assert all(types[source] != kind for source, kind in made)
        assert not {source for source, _ in made} & {w.name for w in half.graph.initializer}


def test_the_model_that_was_given_stays_as_it_was(plans):
    model = graphs(Plan.open(plans["clit"]))["stage0.decode.onnx"]
    before = model.SerializeToString(deterministic=True)
    to_fp16(model, FP32_RULES)
    assert model.SerializeToString(deterministic=True) == before


def test_what_only_moves_a_kept_tensor_keeps_it_fp32():
    """Logits, their reshape and the softmax: no FP16 in between."""
    nodes = [
        helper.make_node("Exp", ["x"], ["a"], "waves/Exp"),
        helper.make_node("Transpose", ["a"], ["b"], "Transpose", perm=[1, 0]),
        helper.make_node("Softmax", ["b"], ["c"], "Softmax"),
        helper.make_node("Mul", ["c", "c"], ["y"], "Mul"),
    ]
    values = [helper.make_tensor_value_info(name, FLOAT, [2, 2]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:])
    half = to_fp16(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), FP32_RULES
    )
    types = element_types(half)
    assert [types[name] for name in "abc"] == [FLOAT] * 3
    kinds = [node.op_type for node in half.graph.node]
    assert kinds == ["Exp", "Transpose", "Softmax", "Cast", "Mul", "Cast"]


def test_rounding_by_arithmetic_is_fp16_s_own():
    """The emulation of x + a - a in FP16 loses what FP16 loses; ONNX Runtime on a CPU does not."""
    nodes = [helper.make_node("Add", ["x", "a"], ["s"]), helper.make_node("Sub", ["s", "a"], ["y"])]
    values = [helper.make_tensor_value_info(name, HALF, [64]) for name in "xy"]
    weight = numpy_helper.from_array(np.array([1000], np.float16), "a")
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 8
    x = np.random.RandomState(0).uniform(-3, 3, 64).astype(np.float16)
    session = ort.InferenceSession(
        check(emulate_fp16(model)).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (rounded,) = session.run(None, {"x": x.astype(np.float32)})
    a = np.float16(1000)
    np.testing.assert_array_equal(rounded, ((x + a) - a).astype(np.float32))
    assert np.abs(rounded - x).max() > 0.1


def test_the_emulation_overflows_where_fp16_does():
    values = [helper.make_tensor_value_info(name, HALF, [6]) for name in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])], "g", *[[v] for v in values]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    session = ort.InferenceSession(
        check(emulate_fp16(model)).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    x = np.array([0.25, 1.3, -32752, 32765, -40000, 1e30], np.float32)
    (got,) = session.run(None, {"x": x})
    assert got[:3].tolist() == (2 * x[:3]).astype(np.float16).tolist()
    assert not np.isfinite(got[3:]).any()


def test_a_tensor_with_nan_is_named():
    """Where hides it from what comes after, in FP32."""
    nodes = [
        helper.make_node("Log", ["x"], ["a"], "Log"),
        helper.make_node("IsNaN", ["a"], ["m"], "IsNaN"),
        helper.make_node("Where", ["m", "x", "a"], ["y"], "Where"),
    ]
    values = [helper.make_tensor_value_info(name, FLOAT, [2]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    runs = [{"x": np.array(x, np.float32)} for x in ([1, 2], [-1, -2], [1, 2])]
    assert list(unfit(largest(model, runs))) == ["a"]


@pytest.fixture(scope="module")
def half_plan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("half")
    checkpoint = tiny_checkpoint(folder, tiny_liif())
    return Plan.open(clit_deploy.export_checkpoint(checkpoint, precision="fp16"))


def test_an_fp16_plan_records_its_loss(half_plan):
    manifest = half_plan.manifest
    assert manifest.precision == "fp16"
    assert [case.scale for case in manifest.half.cases] == [4.0, 12.0]
    assert all(case.float_psnr - case.psnr <= 0.01 for case in manifest.half.cases)
    assert manifest.half.nodes == {}
    assert all(1e-5 < case.relative_error < 0.05 for case in manifest.proof.cases)
    clit_deploy.quality.verify.verify_plan(half_plan, runtime="cpu")


def test_fp16_weights_are_half_the_size(half_plan, plans):
    whole = Plan.open(plans["liif"])
    size = [len(p.read("encoder.onnx")) for p in (half_plan, whole)]
    assert size[0] < 0.65 * size[1]


def far_reaching(folder):
    """A layer whose results reach a million, and the next one that brings them back."""
    spec = tiny_liif()
    weights = ruled_weights(build_model(spec).state_dict())
    first, second = (f"encoder.body.0.body.{k}" for k in (0, 2))
    for name in ("weight", "bias"):
        weights[f"{first}.{name}"] *= 1e6
    weights[f"{second}.weight"] *= 1e-6
    save_checkpoint(folder / "m.pth", spec, weights)


def test_what_the_range_scan_misses_keeps_a_graph_fp32(tmp_path, monkeypatch, caplog):
    """Numbers that are not finite are an infinite loss, which one graph in FP32 removes."""
    far_reaching(tmp_path)
    monkeypatch.setattr(fp16, "unfit", lambda magnitudes: {})
    plan = Plan.open(clit_deploy.export_checkpoint(tmp_path / "m.pth", precision="fp16"))
    assert list(plan.manifest.half.graphs) == ["encoder.onnx"]
    assert "encoder.onnx stays FP32: FP16 loses inf dB" in caplog.text
    assert all(abs(case.drop) <= 0.01 for case in plan.manifest.half.cases)


def test_a_graph_that_stayed_fp32_for_nothing_is_fp16_again(monkeypatch):
    """While two graphs give no numbers, leaving out any one alone helps nothing."""
    needed = {"decode", "project"}

    def measured(plan, graphs, choice, before):
        found = 30.0 if needed <= choice.whole else float("nan")
        return plan, (ScaleDrop(4.0, 30.0, found),)

    monkeypatch.setattr(fp16, "_measured", measured)
    graphs = dict.fromkeys(["decode", "encoder", "point", "project"])
    choice, _, cases = fp16._within_budget(None, graphs, fp16._Choice({}, frozenset()), [], 0.01)
    assert (choice.whole, cases[0].drop) == (needed, 0)


def test_numbers_that_fp16_cannot_represent_stay_fp32(tmp_path, caplog):
    far_reaching(tmp_path)
    plan = Plan.open(clit_deploy.export_checkpoint(tmp_path / "m.pth", precision="fp16"))
    half = plan.manifest.half
    assert list(half.nodes) == ["encoder.onnx"]
    assert "reaches" in half.first
    assert "stay FP32" in caplog.text
    model = graphs(plan)["encoder.onnx"]
    types = element_types(model)
    kept = [n for n in model.graph.node if n.name in half.nodes["encoder.onnx"]]
    assert {n.op_type for n in kept} == {"Conv", "Relu"}
    assert len([n for n in kept if n.op_type == "Conv"]) == 2
    convolutions = [n for n in model.graph.node if n.op_type == "Conv"]
    assert sum(types[n.output[0]] == HALF for n in convolutions) == len(convolutions) - 2
    image = photo(20, 20)
    with clit_deploy.load(plan, runtime="cpu") as up:
        result = up.upscale(image, scale=2)
    assert np.isfinite(result).all()
    assert result.std() > 0.01


def test_a_loss_beyond_the_limit_keeps_whole_graphs_fp32_and_then_refuses(tmp_path, monkeypatch):
    checkpoint = tiny_checkpoint(tmp_path, tiny_liif())
    # Whether a model with random weights gains or loses is chance.
    monkeypatch.setattr(fp16, "_drop", lambda cases: max(abs(case.drop) for case in cases))
    monkeypatch.setattr(fp16, "MAX_FP16_DROP", 1e-12)
    plan = Plan.open(clit_deploy.export_checkpoint(checkpoint, precision="fp16"))
    assert "encoder.onnx" in plan.manifest.half.graphs
    encoder = graphs(plan)["encoder.onnx"]
    assert HALF not in {
        element_types(encoder)[x]
        for n in encoder.graph.node
        for x in n.output[:1]
        if n.op_type == "Conv"
    }
    monkeypatch.setattr(fp16, "MAX_FP16_DROP", -1.0)
    with pytest.raises(ParityError, match=r"FP16 loses .* dB"):
        clit_deploy.export_checkpoint(checkpoint, tmp_path / "no.plan", precision="fp16")
    assert not (tmp_path / "no.plan").exists()


def test_fp16_with_half_weights_is_refused(tmp_path):
    with pytest.raises(OptionError, match="half_weights"):
        clit_deploy.export_checkpoint(tmp_path / "x.pth", precision="fp16", half_weights=True)


def test_the_command_prints_the_loss_of_fp16(tmp_path):
    checkpoint = tiny_checkpoint(tmp_path, tiny_liif())
    done = cli("export", checkpoint, "--precision", "fp16")
    assert done.returncode == 0, done.stderr
    assert "grapes.png" in done.stdout
    assert "precision  fp16" in cli("info", tmp_path / "tiny-fp16.plan").stdout


@pytest.mark.data
def test_fp16_loses_at_most_a_hundredth_of_a_decibel_on_set5(tmp_path):
    source = DATA / "checkpoints" / "edsr-baseline-liif.pth"
    means = {}
    for precision in ("fp32", "fp16"):
        path = clit_deploy.export_checkpoint(source, tmp_path / "m.plan", precision=precision)
        means[precision] = mean_on_set5(Plan.open(path))
    means["every result rounded"] = mean_on_set5(emulated(Plan.open(path)))
    assert means["fp32"] - min(means.values()) <= 0.01
    assert means["fp32"] > 31
    assert means["every result rounded"] != means["fp16"], "a CPU computes FP16 in FP32"


def emulated(plan):
    rounded = {
        name: emulate_fp16(model).SerializeToString() for name, model in graphs(plan).items()
    }
    return plan.replaced(rounded)


def mean_on_set5(plan):
    with clit_deploy.load(plan, runtime="cpu") as up:
        scores = evaluate(up, DATA / "benchmarks" / "Set5", [4.0])
    return np.mean([score.psnr for score in scores])
