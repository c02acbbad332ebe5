"""The contracts of the exported graphs."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from clit_deploy.export.waves import sine_coefficients
from clit_deploy.plan.plan_file import Plan
from clit_deploy.plan.safe_graph import OPERATORS
from tests.helpers import tiny_checkpoint, tiny_clit

DECODE_OPS = {
    "Add", "Clip", "Concat", "Div", "Erf", "Floor", "MatMul", "Mul", "ReduceSum", "Relu", "Reshape",
    "Shape", "Slice", "Softmax", "Split", "Squeeze", "Sub", "Transpose", "Unsqueeze",
}  # fmt: skip
PROJECT_OPS = {
    "Add", "Concat", "Conv", "MatMul", "Mul", "Reshape", "Shape", "Squeeze", "Transpose",
    "Unsqueeze",
}  # fmt: skip
ENCODER_OPS = {"Add", "Conv", "Div", "Mul", "Relu", "Sub"}


def graphs(plan: Plan) -> dict[str, onnx.ModelProto]:
    members = [name for name in plan.manifest.digests if name.endswith(".onnx")]
    return {name: onnx.load_from_string(plan.read(name)) for name in members}


def ops(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in model.graph.node}


def shapes(values) -> dict[str, list[int | str]]:
    return {
        v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values
    }


def test_only_the_expected_operators(plan):
    for name, model in graphs(plan).items():
        assert ops(model) <= OPERATORS, name
        if name == "encoder.onnx":
            assert ops(model) <= ENCODER_OPS
        elif "decode" in name:
            assert ops(model) <= DECODE_OPS
        elif "project" in name:
            assert ops(model) <= PROJECT_OPS


def test_versions_are_what_old_runtimes_read(plan):
    for model in graphs(plan).values():
        assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
        assert model.ir_version == 8
        onnx.checker.check_model(model, full_check=True)


def test_nothing_of_the_machine_is_left_in_a_graph(plan):
    for model in graphs(plan).values():
        assert not model.metadata_props
        assert not any(node.doc_string for node in model.graph.node)
        assert b"/" + b"site-packages" not in model.SerializeToString()


def test_every_float_is_float32(plan):
    for model in graphs(plan).values():
        kinds = {init.data_type for init in model.graph.initializer}
        assert kinds <= {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}


def test_names_and_shapes_of_clit(plans):
    made = graphs(Plan.open(plans["clit"]))
    assert set(made) == {
        "encoder.onnx",
        "attention.onnx",
        *(f"stage{s}.{kind}.onnx" for s in range(3) for kind in ("project", "decode", "point")),
    }
    encoder = made["encoder.onnx"].graph
    assert shapes(encoder.input) == {"image": [1, 3, "height", "width"]}
    assert shapes(encoder.output) == {"features": [1, 8, "height", "width"]}
    assert shapes(made["stage0.project.onnx"].graph.input) == {
        "features": [1, 8, "in_rows", "in_cols"],
        "row_inside": ["wide_rows"],
        "col_inside": ["wide_cols"],
    }
    assert shapes(made["stage1.project.onnx"].graph.input) == {
        "features": [1, 8, "in_rows", "in_cols"],
        "row_taps": ["rows", "row_reach"],
        "col_taps": ["cols", "col_reach"],
    }
    decode = made["stage2.decode.onnx"].graph
    assert shapes(decode.input) == {
        "maps": [7, "rows", "padded_cols", 48],
        "row_weights": ["rows", "ny", 3],
        "col_weights": ["cols", "nx", 3],
        "row_bias": ["rows", "ny", 4, 7],
        "col_bias": ["cols", "nx", 4, 7],
        "cell": [1, 2],
    }
    assert shapes(decode.output) == {"rgb": ["rows", "ny", "cols", "nx", 3]}
    point = made["stage0.point.onnx"].graph
    assert shapes(point.input) == {
        "maps": ["map_rows", "map_cols", 48],
        "pixel": ["queries", 2],
        "row_weights": ["queries", 3],
        "col_weights": ["queries", 3],
        "row_bias": ["queries", 4, 7],
        "col_bias": ["queries", 4, 7],
        "cell": ["sizes", 2],
    }
    assert shapes(point.output) == {"rgb": ["queries", 3]}
    attention = made["attention.onnx"].graph
    assert shapes(attention.output) == {"attention": ["queries", 4, 49]}
    assert not [init for init in attention.initializer if init.data_type == 1]  # no weights


def test_names_and_shapes_of_liif(plans):
    made = graphs(Plan.open(plans["liif"]))
    assert shapes(made["stage0.decode.onnx"].graph.input) == {
        "maps": [2, "rows", "padded_cols", 24],
        "row_offset": ["rows", "ny", 2],
        "row_blend": ["rows", "ny", 2],
        "col_offset": ["cols", "nx", 2],
        "col_blend": ["cols", "nx", 2],
        "cell": [1, 2],
    }


def test_the_first_layer_is_swapped_and_hoisted(plans):
    """No product in a decode graph is as wide as the unswapped first layer."""
    decode = graphs(Plan.open(plans["clit"]))["stage0.decode.onnx"]
    widest = max(init.dims[-2] for init in decode.graph.initializer if len(init.dims) == 2)
    assert widest <= 49  # the unswapped layer takes 49 * 16 + 2
    heads = [init for init in decode.graph.initializer if list(init.dims) == [49, 4, 24]]
    assert len(heads) == 4
    liif = graphs(Plan.open(plans["liif"]))["stage0.project.onnx"]
    (kernel,) = [init for init in liif.graph.initializer if len(init.dims) == 4]
    assert list(kernel.dims) == [24, 8, 3, 3]


def test_nodes_are_named_by_scope(plans):
    names = [n.name for n in graphs(Plan.open(plans["clit"]))["stage0.decode.onnx"].graph.node]
    assert len(set(names)) == len(names)
    scopes = {name.split("/")[0] for name in names if "/" in name}
    assert scopes == {"attention", "layer0", "layer1", "layer2"}


def test_onnx_runtime_fuses_the_transpose_of_the_products(plans, tmp_path):
    """The product with V W1 must not copy it: it is the largest tensor of all."""
    plan = Plan.open(plans["clit"])
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(
        plan.read("stage0.decode.onnx"), options, providers=["CPUExecutionProvider"]
    )
    nodes = onnx.load(tmp_path / "optimized.onnx").graph.node
    strided = [
        node
        for node in nodes
        if node.op_type == "FusedMatMul"
        and any(a.name == "transBatchB" and a.i == 1 for a in node.attribute)
    ]
    assert len(strided) == 4


def test_export_is_reproducible(plans, tmp_path):
    import clit_deploy

    checkpoint = tiny_checkpoint(tmp_path, tiny_clit(), "clit.pth")
    again = Plan.open(clit_deploy.export_checkpoint(checkpoint))
    before = Plan.open(plans["clit"])
    same = {name for name in before.manifest.digests if name.endswith((".onnx", ".npz"))}
    assert {n: again.manifest.digests[n] for n in same} == {
        n: before.manifest.digests[n] for n in same
    }


def test_the_polynomial_sine_is_exact_to_float32():
    t = np.linspace(-0.5, 0.5, 10_001)
    value = sum(c * t ** (2 * k + 1) for k, c in enumerate(sine_coefficients()))
    assert np.abs(value - np.sin(2 * np.pi * t)).max() < 1e-7


@pytest.mark.parametrize(("rows", "cols", "ny", "nx"), [(1, 1, 1, 1), (1, 5, 3, 2), (4, 3, 2, 7)])
def test_decode_takes_any_number_of_cells_and_queries(plans, rows, cols, ny, nx):
    plan = Plan.open(plans["clit"])
    session = ort.InferenceSession(
        plan.read("stage1.decode.onnx"), providers=["CPUExecutionProvider"]
    )
    rng = np.random.RandomState(0)
    sizes = {"rows": rows, "cols": cols, "padded_cols": cols + 6, "ny": ny, "nx": nx}
    feeds = {
        v.name: rng.rand(*[sizes.get(d, d) for d in v.shape]).astype(np.float32)
        for v in session.get_inputs()
    }
    (rgb,) = session.run(None, feeds)
    assert rgb.shape == (rows, ny, cols, nx, 3)
    one = {
        **feeds,
        "maps": feeds["maps"][:, -1:],
        "row_weights": feeds["row_weights"][-1:, -1:],
        "row_bias": feeds["row_bias"][-1:, -1:],
    }
    (alone,) = session.run(None, one)
    assert np.abs(alone[0, 0] - rgb[-1, -1]).max() < 1e-5
