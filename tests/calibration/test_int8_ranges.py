from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from clit_deploy.calibration.int8_ranges import MIN_RANGE, SHARE, AbsHistogram, Method, observe
from clit_deploy.errors import CalibrationError


def of(*arrays: np.ndarray) -> AbsHistogram:
    found = AbsHistogram()
    for array in arrays:
        found.add(array.astype(np.float32))
    return found


def test_minmax_is_the_largest_magnitude():
    assert of(np.array([0.5, -3.0]), np.array([2.0])).range(Method.MINMAX) == 3.0


@pytest.mark.parametrize("method", list(Method))
def test_zeros_give_a_range_that_divides(method):
    assert of(np.zeros(10)).range(method) == 1
    assert of(np.full(10, 1e-9)).range(method) == MIN_RANGE
    assert np.float16(MIN_RANGE / 127) > 0  # where it is FP16


def test_percentile_leaves_out_the_rarest():
    values = np.random.RandomState(0).uniform(-1, 1, 400_000)
    values[:2] = 50
    found = of(values)
    assert found.range(Method.MINMAX) == 50
    assert found.range(Method.PERCENTILE) == pytest.approx(1, abs=50 / 1024)
    assert 1 - SHARE > 2 / 400_000


def test_order_and_growth_of_the_histogram_do_not_matter():
    values = np.random.RandomState(0).standard_normal(50_000) ** 3
    pieces = np.array_split(np.sort(np.abs(values)), 20)
    rising, whole = of(*pieces), of(values)
    for method in Method:
        assert rising.range(method) == pytest.approx(whole.range(method), rel=0.1)


def test_entropy_cuts_a_long_tail_but_not_a_flat_distribution():
    random = np.random.RandomState(0)
    flat = of(random.uniform(-1, 1, 200_000))
    assert flat.range(Method.ENTROPY) > 0.9
    assert of(np.array([0.1, 7.3])).range(Method.ENTROPY) == pytest.approx(7.3, rel=1e-3)
    tailed = np.r_[random.standard_normal(200_000), [400.0]]
    assert of(tailed).range(Method.ENTROPY) < 100


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
def test_numbers_that_are_not_finite_are_named(bad):
    batches = [{"x": np.array([1, 2], np.float32)}, {"x": np.array([bad, 2], np.float32)}]
    with pytest.raises(CalibrationError, match="square of the float plan's g is not finite"):
        observe(squaring(), ["square"], batches)


def test_inner_tensors_and_inputs_are_observed():
    model = squaring()
    before = model.SerializeToString()
    batches = [
        {"x": np.array([1, -4], np.float32), "other": np.zeros(3)},
        {"x": np.array([2], np.float32)},
    ]
    found = observe(model, ["x", "square"], batches)
    assert {name: m.range(Method.MINMAX) for name, m in found.items()} == {"x": 4, "square": 16}
    assert model.SerializeToString() == before
    onnx.checker.check_model(model)
