"""Engines that say they fit and do not load: found when the runtime is chosen, not in a picture."""

from __future__ import annotations

import errno
import re

import numpy as np
import pytest

import clit_deploy
from clit_deploy.engines.store import build_into
from clit_deploy.errors import DeviceMemoryError, EngineError, OutputError, PlanError
from clit_deploy.plan.plan_file import Plan
from clit_deploy.runtimes.trt.engine_builder import BuildOptions
from clit_deploy.runtimes.trt.tensorrt_api import Flavour
from tests.engines.offers import SMALL, built, chosen, offer
from tests.fakes.cuda import Error
from tests.fakes.machine import Machine
from tests.helpers import photo


def refused(path, machine):
    """The last engine is whole, but the library does not take it."""
    plan = built(path, machine)
    engine = plan.manifest.engines[-1].engines[-1]
    plan.replaced({engine.member: b"of another world"}).save(path)
    return r"cannot load the engine of .*: magic number does not match"


def damaged(path, machine):
    """A byte of the last engine is another one."""
    plan = built(path, machine)
    engine = plan.read(plan.manifest.engines[-1].engines[-1].member)
    content = path.read_bytes()
    at = content.rindex(engine)  # another flavour's may be the same
    path.write_bytes(content[:at] + b"?" + content[at + 1 :])
    return r"the engine of .* is damaged"


WRONG = pytest.mark.parametrize("wrong", [refused, damaged])


@WRONG
@pytest.mark.parametrize("name", ["auto", "tensorrt"])
def test_they_are_built_again(path, machine, monkeypatch, caplog, wrong, name):
    words = wrong(path, machine)
    offer(monkeypatch, machine)
    with clit_deploy.load(path, runtime=name) as device:
        got = device.upscale(photo(9, 9), scale=2, clip=False)
        assert device.runtime.name.startswith("TensorRT")
    with clit_deploy.load(path, runtime="cpu") as processor:
        expected = processor.upscale(photo(9, 9), scale=2, clip=False)
    assert np.abs(got - expected).max() <= 1e-6
    assert caplog.text.count("Engines are built now") == 1
    assert re.search(words, caplog.text)
    caplog.clear()
    chosen(Plan.open(path))
    assert not caplog.text, "and kept"


@WRONG
def test_they_are_refused_where_nothing_may_be_built(path, machine, monkeypatch, caplog, wrong):
    words = wrong(path, machine)
    before = path.read_bytes()
    offer(monkeypatch, machine)
    with pytest.raises(EngineError, match=rf"{words}.*: clit-deploy build --runtime tensorrt"):
        chosen(Plan.open(path), "tensorrt", rebuild=False)
    assert chosen(Plan.open(path), rebuild=False)[1].startswith("onnxruntime")
    assert "ONNX Runtime is used instead of tensorrt: model.plan has engines of" in caplog.text
    assert path.read_bytes() == before
    assert machine.api.used == 0
    assert not machine.api.streams


@WRONG
def test_another_flavour_that_fits_goes_before_a_build(path, machine, monkeypatch, wrong):
    rtx = Machine.make(Flavour.RTX)
    built(path, rtx)
    wrong(path, machine)
    builds = len(machine.module.configs)
    offer(monkeypatch, rtx, machine)
    assert chosen(Plan.open(path))[1].startswith("TensorRT-RTX")
    assert len(machine.module.configs) == builds


def test_what_cannot_be_built_again_runs_on_onnx_runtime(path, machine, monkeypatch, caplog):
    damaged(path, machine)
    machine.module.too_new = True  # after its runtime started
    offer(monkeypatch, machine)
    assert chosen(Plan.open(path))[1].startswith("onnxruntime")
    assert "instead of tensorrt: TensorRT 10.3.0 does not start" in caplog.text


def test_no_room_for_the_engines_is_no_reason_to_build_them(path, machine, monkeypatch, caplog):
    built(path, machine)
    builds = len(machine.module.configs)
    offer(monkeypatch, machine)

    def full(engine, name):
        raise DeviceMemoryError("Out of device memory.")

    monkeypatch.setattr(machine.trt, "deserialize", full)
    assert chosen(Plan.open(path))[1].startswith("onnxruntime")
    assert "instead of tensorrt: Out of device memory." in caplog.text
    assert len(machine.module.configs) == builds


def test_a_device_that_answers_nothing_is_not_used(path, machine, monkeypatch, caplog):
    built(path, machine)
    silent = Machine.make()
    silent.api.cudaGetDeviceProperties = lambda index: (Error.cudaErrorInvalidValue, None)
    offer(monkeypatch, silent)
    assert chosen(Plan.open(path))[1].startswith("onnxruntime")
    assert "CUDA call cudaGetDeviceProperties failed" in caplog.text


def test_a_plan_that_was_replaced_meanwhile_is_not_built_into(path, machine, monkeypatch):
    early = built(path, machine)
    offer(monkeypatch, machine)
    build_into(early, machine.trt, BuildOptions(workspace=1), SMALL, machine.cuda)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"FAKEENGINE", b"fakeengine"))  # other engines
    with pytest.raises(PlanError, match="was replaced since it was opened"):
        chosen(early)


def test_a_build_leaves_out_what_is_damaged(path, machine, caplog):
    """Engines of RTX for its usual targets, and then for one."""
    rtx = Machine.make(Flavour.RTX)
    damaged(path, rtx)
    engines = build_into(Plan.open(path), machine.trt, BuildOptions(), SMALL, machine.cuda)
    assert [x.flavour for x in engines.manifest.engines] == ["tensorrt"]
    assert "the engines of TensorRT-RTX 10.3.0 for 8.6 are dropped" in caplog.text
    for member in engines.manifest.digests:
        engines.read(member)


def test_a_disk_that_fills_up_costs_no_second_build(path, machine, monkeypatch, caplog):
    offer(monkeypatch, machine)
    graphs = [name for name in Plan.open(path).manifest.digests if name.endswith(".onnx")]

    def full(self, path):
        raise OutputError(errno.ENOSPC, "the disk is full")

    monkeypatch.setattr(Plan, "save", full)
    plan, name = chosen(Plan.open(path), "tensorrt")
    assert name.startswith("TensorRT")
    assert len(machine.module.configs) == len(graphs)
    assert "the new engines are not stored: the disk is full" in caplog.text
    assert plan.manifest.engines[0].relative_error <= 1e-5
    assert not Plan.open(path).manifest.engines
