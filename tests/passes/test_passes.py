import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import clit_deploy
from clit_deploy.cli.report import describe
from clit_deploy.errors import GraphError
from clit_deploy.passes import clean
from clit_deploy.passes.check_graph import check
from clit_deploy.passes.fold_constants import fold_constants
from clit_deploy.passes.fp16_weights import MIN_SIZE, store_fp16_weights
from clit_deploy.passes.pin_versions import pin_versions
from clit_deploy.passes.remove_identities import remove_identities
from clit_deploy.passes.strip_metadata import strip_metadata
from clit_deploy.plan.plan_file import Plan


def model(*nodes, constants=(), opset=20):
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy"]
    inits = [
        numpy_helper.from_array(np.array(v, np.float32), n) for n, v in dict(constants).items()
    ]
    graph = helper.make_graph(list(nodes), "g", value[:1], value[1:], inits, doc_string="made in x")
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def kinds(made):
    return [node.op_type for node in made.graph.node]


def test_constants_are_folded_and_the_unused_dropped():
    made = fold_constants(
        model(
            helper.make_node("Add", ["a", "a"], ["b"]),
            helper.make_node("Relu", ["x"], ["unused"]),
            helper.make_node("Mul", ["x", "b"], ["y"]),
            constants={"a": [1, 2]}.items(),
        )
    )
    assert kinds(made) == ["Mul"]
    (folded,) = made.graph.initializer
    assert numpy_helper.to_array(folded).tolist() == [2, 4]


def test_identities_go_but_not_those_that_make_an_output():
    made = remove_identities(
        model(
            helper.make_node("Identity", ["x"], ["a"]),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("Identity", ["b"], ["y"]),
        )
    )
    assert kinds(made) == ["Relu", "Identity"]
    assert made.graph.node[0].input == ["x"]


def test_metadata_is_stripped():
    made = model(helper.make_node("Relu", ["x"], ["y"], doc_string="file x.py line 3"))
    made.metadata_props.add(key="path", value="somewhere")
    made.graph.node[0].metadata_props.add(key="stack", value="trace")
    stripped = strip_metadata(made)
    assert not stripped.metadata_props
    assert not stripped.graph.node[0].metadata_props
    assert not stripped.graph.node[0].doc_string
    assert not stripped.graph.doc_string


def test_versions_are_pinned():
    made = pin_versions(model(helper.make_node("Relu", ["x"], ["y"])))
    assert (made.ir_version, made.opset_import[0].version) == (8, 18)


@pytest.mark.parametrize("op", ["Sin", "Cos"])
def test_forbidden_operators_are_refused(op):
    with pytest.raises(GraphError, match=op):
        check(strip_metadata(model(helper.make_node(op, ["x"], ["y"]), opset=18)))


def test_an_unsound_graph_is_refused():
    made = pin_versions(model(helper.make_node("Relu", ["nothing"], ["y"])))
    with pytest.raises(GraphError, match="not valid ONNX"):
        check(made)


def test_all_passes_together_keep_the_function():
    made = clean(
        model(
            helper.make_node("Identity", ["x"], ["a"]),
            helper.make_node("Mul", ["a", "c"], ["y"]),
            constants={"c": [3, 4]}.items(),
        )
    )
    assert kinds(made) == ["Mul"]
    onnx.checker.check_model(made)


def test_half_weights_are_stored_small_and_run_the_same(plans, tmp_path):
    plan = clit_deploy.export_checkpoint(
        plans["clit"].with_suffix(".pth"), tmp_path / "half.plan", half_weights=True
    )
    whole, half = Plan.open(plans["clit"]), Plan.open(plan)
    assert half.manifest.half_weights
    assert len(half.read("stage0.decode.onnx")) < 0.7 * len(whole.read("stage0.decode.onnx"))
    for name in half.manifest.digests:
        if name.endswith(".onnx"):
            model = onnx.load_from_string(half.read(name))
            large = [i for i in model.graph.initializer if np.prod(i.dims) >= MIN_SIZE]
            assert all(i.data_type != onnx.TensorProto.FLOAT for i in large)
    image = np.random.RandomState(0).rand(9, 8, 3).astype(np.float32)
    results = []
    for path in (whole, half):
        with clit_deploy.load(path) as up:
            results.append(up.upscale(image, scale=5, clip=False))
    assert np.abs(results[0] - results[1]).max() / results[0].std() < 1e-2
    assert not np.array_equal(*results)
    assert "weights stored as fp16" in describe(plan, half.manifest)


def test_weights_that_float16_cannot_hold_stay():
    weight = numpy_helper.from_array(np.full((20, 20), 1e6, np.float32), "w")
    made = store_fp16_weights(
        onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [weight]))
    )
    assert made.graph.initializer[0].data_type == onnx.TensorProto.FLOAT
