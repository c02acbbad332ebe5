"""What another tool says about the graphs before TensorRT reads them."""

from __future__ import annotations

import importlib.util

import pytest

from clit_deploy.plan.plan_file import Plan
from clit_deploy.zoo.named_models import named_models

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("trtcheck") is None, reason="trtcheck is not installed"
)


def critical(plan, folder):
    """The critical findings for TensorRT 10.3, the oldest supported version."""
    from trtcheck import AnalyzerConfig, analyze

    found = []
    for member in (name for name in plan.manifest.digests if name.endswith(".onnx")):
        path = folder / member
        path.write_bytes(plan.read(member))
        report = analyze(str(path), config=AnalyzerConfig(target_trt="10.3"))
        found += [
            (member, one.message) for one in report.issues if one.severity.value == "critical"
        ]
    return found


def test_no_graph_has_a_critical_finding(plan, tmp_path):
    assert critical(plan, tmp_path) == []


def test_no_graph_of_the_package_has_one(tmp_path):
    for model in named_models().values():
        assert critical(Plan.open(model.plan), tmp_path) == []


def test_a_graph_that_tensorrt_cannot_read_has_one(tmp_path):
    """So that the tests above can fail."""
    import onnx
    from onnx import helper
    from trtcheck import AnalyzerConfig, analyze

    value = {name: helper.make_tensor_value_info(name, 1, [2]) for name in "xy"}
    node = helper.make_node("Det", ["x"], ["y"])
    graph = helper.make_graph([node], "g", [value["x"]], [value["y"]])
    onnx.save(helper.make_model(graph), tmp_path / "bad.onnx")
    report = analyze(str(tmp_path / "bad.onnx"), config=AnalyzerConfig(target_trt="10.3"))
    assert any(one.severity.value == "critical" for one in report.issues)
