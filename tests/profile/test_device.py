"""Profiles of engines on the fake device: its own times, its memory, and its layers."""

from __future__ import annotations

import shutil

import pytest

from clit_deploy.engines import select
from clit_deploy.engines.build import EngineLimits
from clit_deploy.engines.store import build_into
from clit_deploy.errors import EngineError
from clit_deploy.plan.plan_file import Plan
from clit_deploy.profile.profiler import Request, profile
from clit_deploy.runtimes.trt.engine_builder import BuildOptions
from tests.fakes.machine import Machine


@pytest.fixture
def machine(monkeypatch):
    """A fake device that this machine seems to have."""
    found = Machine.make()
    monkeypatch.setattr(select, "load_tensorrt", lambda flavour: found.trt)
    monkeypatch.setattr(select, "open_cuda", lambda: found.cuda)
    return found


@pytest.fixture
def wanted(plans, picture, tmp_path):
    plan = shutil.copy(plans["clit"], tmp_path / "own.plan")
    return Request(plan, picture, [2.0], iterations=3, runtime="tensorrt", root=tmp_path / "root")


def test_a_device_tells_its_times_memory_and_layers(wanted, machine):
    options, limits = BuildOptions(), EngineLimits(tile=48, block=64, chunk=4)
    build_into(Plan.open(wanted.plan), machine.trt, options, limits, machine.cuda)
    (row,) = profile(wanted).rows
    assert row.on_device
    assert row.runtime.startswith("TensorRT")
    times = {time.member: time for time in row.device}
    assert set(times) == {"encoder.onnx", "stage0.project.onnx", "stage0.decode.onnx"}
    runs = {one.member: one.runs for one in row.graphs}
    assert {member: time.runs for member, time in times.items()} == runs
    decode = times["stage0.decode.onnx"]
    assert min(decode.upload_ms, decode.compute_ms, decode.download_ms) > 0
    assert {layer.member for layer in row.layers} == set(times)
    assert set(row.memory.device) == {"engines", "tensors"}
    assert row.conditions.clock_state == "unknown"
    assert "NVIDIA" in row.unavailable["power"]
    assert row.quality.psnr_db > 100


def test_engines_are_not_built_by_looking(wanted, machine):
    """That would change the plan, and count as opening it."""
    before = wanted.plan.read_bytes()
    with pytest.raises(EngineError, match=r"clit-deploy build --runtime tensorrt .*own\.plan"):
        profile(wanted)
    assert wanted.plan.read_bytes() == before
