import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from clit_deploy.errors import ProofError
from clit_deploy.export.passes import clean
from clit_deploy.export.passes.check import check
from clit_deploy.export.passes.fold_constants import fold_constants
from clit_deploy.export.passes.pin_versions import pin_versions
from clit_deploy.export.passes.remove_identities import remove_identities
from clit_deploy.export.passes.strip_metadata import strip_metadata


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
    with pytest.raises(ProofError, match=op):
        check(model(helper.make_node(op, ["x"], ["y"]), opset=18))


def test_an_unsound_graph_is_refused():
    made = pin_versions(model(helper.make_node("Relu", ["nothing"], ["y"])))
    with pytest.raises(ProofError, match="not valid ONNX"):
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
