from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from clit_deploy.calibration.int8_ranges import MIN_RANGE, Observed, observe
from clit_deploy.errors import CalibrationError


def test_ranges_are_the_largest_magnitudes_of_all_batches():
    batches = [{"x": np.array(x, np.float32)} for x in ([0.5, -3.0], [2.0])]
    found = observe(squaring(), ["x", "square"], batches)
    assert found == {"x": Observed(3.0, 1.5), "square": Observed(9.0, 1.5)}


def test_zeros_give_a_range_that_divides():
    zeros = [{"x": np.zeros(10, np.float32)}]
    assert observe(squaring(), ["x"], zeros) == {"x": Observed(1.0, 10)}
    tiny = [{"x": np.full(10, 1e-9, np.float32)}]
    assert observe(squaring(), ["x"], tiny) == {"x": Observed(MIN_RANGE, 10)}
    assert np.float16(MIN_RANGE / 127) > 0  # where it is FP16


def squaring():
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["square"]),
        helper.make_node("Relu", ["square"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])
    return helper.make_model(
        helper.make_graph(nodes, "g", [x], [y]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_tensors_that_are_not_finite_are_named(bad):
    batches = [{"x": np.array([1, 2], np.float32)}, {"x": np.array([bad, 2], np.float32)}]
    with pytest.raises(CalibrationError, match="square in g of the float plan reaches"):
        observe(squaring(), ["square"], batches)


def test_inner_tensors_and_inputs_are_observed():
    model = squaring()
    before = model.SerializeToString()
    batches = [
        {"x": np.array([1, -4], np.float32), "other": np.zeros(3)},
        {"x": np.array([2], np.float32)},
    ]
    found = observe(model, ["x", "square"], batches)
    assert {name: observed.range for name, observed in found.items()} == {"x": 4, "square": 16}
    assert model.SerializeToString() == before
    onnx.checker.check_model(model)
