"""What `verify` runs: one runtime, the one that was chosen, for all that it checks."""

from __future__ import annotations

import pytest

from clit_deploy.errors import EngineError
from clit_deploy.plan.plan_file import Plan
from clit_deploy.quality.verify import verify_plan
from tests.engines.offers import built, offer
from tests.fakes.machine import Machine


def test_all_is_checked_on_the_engines(path, machine, monkeypatch):
    plan = built(path, machine)
    offer(monkeypatch, machine)
    before = machine.module.deserialized
    result = verify_plan(plan, runtime="tensorrt")
    assert result.runtime == "TensorRT 10.3.0 (Fake GPU)"
    assert result.engines <= 1e-5
    assert machine.module.deserialized == before + len(plan.manifest.engines[0].engines)


def test_nothing_is_built_where_that_was_forbidden(path, monkeypatch, caplog):
    built(path, Machine.make())
    newer = Machine.make(version="10.7.0")
    offer(monkeypatch, newer)
    before = path.read_bytes()
    result = verify_plan(Plan.open(path), rebuild=False)
    assert result.runtime.startswith("onnxruntime")
    assert "ONNX Runtime is used instead of tensorrt" in caplog.text
    with pytest.raises(EngineError, match=r"not 10\.7\.0"):
        verify_plan(Plan.open(path), runtime="tensorrt", rebuild=False)
    assert path.read_bytes() == before
    assert not newer.module.configs
