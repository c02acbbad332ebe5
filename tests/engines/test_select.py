"""Which runtime a plan gets, and what is said about those that it does not get."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

import clit_deploy
from clit_deploy.engines import build as build_module
from clit_deploy.engines import select
from clit_deploy.engines.build import differences
from clit_deploy.engines.store import build_into
from clit_deploy.errors import EngineError, OptionError, RuntimeUnavailableError
from clit_deploy.plan.plan_file import Plan, make_plan
from clit_deploy.runtimes.trt.engine_builder import BuildOptions
from clit_deploy.runtimes.trt.tensorrt_api import Flavour
from clit_deploy.system.jetson import Jetson
from clit_deploy.system.locks import locked
from tests.engines.offers import SMALL, built, chosen, nothing, offer
from tests.fakes.machine import Machine
from tests.helpers import photo

# -- auto ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("flavour", list(Flavour))
def test_auto_takes_engines_that_fit(path, monkeypatch, caplog, flavour):
    machine = Machine.make(flavour)
    plan = built(path, machine)
    offer(monkeypatch, machine)
    same, name = chosen(plan)
    assert name == f"{machine.trt.title} (Fake GPU)"
    assert same.manifest == plan.manifest
    assert not caplog.text


def test_auto_does_not_build_engines_that_nobody_asked_for(path, machine, monkeypatch, caplog):
    offer(monkeypatch, machine)
    with caplog.at_level("INFO"):
        plan, name = chosen(Plan.open(path))
    assert "onnxruntime" in name
    assert not plan.manifest.engines
    assert "model.plan has no engines; 'clit-deploy build' builds them" in caplog.text
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_auto_says_why_engines_of_the_plan_are_not_used(path, machine, monkeypatch, caplog):
    plan = built(path, machine)
    offer(monkeypatch)
    _, name = chosen(plan)
    assert "onnxruntime" in name
    assert "ONNX Runtime is used instead of tensorrt: There is no NVIDIA driver" in caplog.text
    assert caplog.text.count("is used") == 1, "and nothing about what the plan does not have"


def test_auto_takes_the_engines_that_fit_before_it_builds_others(path, machine, monkeypatch):
    """The plan has engines of RTX for this device, and of TensorRT for another version."""
    built(path, Machine.make(version="11.4.1"))
    rtx = Machine.make(Flavour.RTX)
    plan = built(path, rtx)
    offer(monkeypatch, machine, rtx)
    same, name = chosen(plan)
    assert name == "TensorRT-RTX 10.3.0 (Fake GPU)"
    assert len(same.manifest.engines) == 2


def test_the_picture_is_the_same_whatever_runs(path, machine, monkeypatch):
    built(path, machine)
    offer(monkeypatch, machine)
    image = photo(13, 17)
    with clit_deploy.load(path) as device, clit_deploy.load(path, runtime="cpu") as processor:
        assert "TensorRT" in device.runtime.name
        assert "CPU" in processor.runtime.name
        one, other = (up.upscale(image, scale=3.3, clip=False) for up in (device, processor))
    assert np.abs(one - other).max() <= 1e-6


# -- named ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("flavour", list(Flavour))
def test_what_is_named_and_missing_is_an_error(path, monkeypatch, flavour):
    """With what was asked for, what there is instead, and why; the repair is part of that."""
    other = next(another for another in Flavour if another is not flavour)
    offer(monkeypatch, Machine.make(other))
    asked = rf"^The runtime {flavour.value} is not available; available are cpu"
    with pytest.raises(
        RuntimeUnavailableError, match=rf"{asked}, {other.value}\. There is no {flavour.value}"
    ):
        chosen(Plan.open(path), flavour.value)
    offer(monkeypatch, Machine.make(flavour))
    monkeypatch.setattr(select, "open_cuda", nothing)
    with pytest.raises(RuntimeUnavailableError, match=rf"{asked}\. There is no NVIDIA driver"):
        chosen(Plan.open(path), flavour.value)


def test_an_unknown_name_is_answered_with_the_known_ones(path):
    with pytest.raises(OptionError, match=r"'vulkan'.*auto, cpu, cuda, tensorrt"):
        chosen(Plan.open(path), "vulkan")


def test_cpu_is_cpu_even_with_engines(path, machine, monkeypatch):
    plan = built(path, machine)
    offer(monkeypatch, machine)
    assert "CPU" in chosen(plan, "cpu")[1]


def test_named_without_engines_builds_them_once(path, machine, monkeypatch, caplog):
    offer(monkeypatch, machine)
    plan, name = chosen(Plan.open(path), "tensorrt")
    assert name.startswith("TensorRT")
    assert "no engines of TensorRT 10.3.0. Engines are built now" in caplog.text
    caplog.clear()
    chosen(Plan.open(path), "tensorrt")
    assert "built now" not in caplog.text
    assert Plan.open(path).manifest.engines == plan.manifest.engines


def test_named_without_engines_may_be_refused(path, machine, monkeypatch):
    offer(monkeypatch, machine)
    repair = rf"no engines of TensorRT.*: clit-deploy build --runtime tensorrt {path}"
    with pytest.raises(EngineError, match=repair):
        chosen(Plan.open(path), "tensorrt", rebuild=False)


# -- engines for something else ------------------------------------------------------------------

OTHERS = {
    "version": ({"version": "10.7.0"}, r"built by version 10\.3\.0, not 10\.7\.0"),
    "capability": ({"capability": (8, 7)}, r"for compute capability 8\.6, not 8\.7"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_engines_for_something_else_are_built_again_within_their_limits(
    path, monkeypatch, caplog, other
):
    changes, difference = OTHERS[other]
    built(path, Machine.make())
    machine = Machine.make(**changes)
    offer(monkeypatch, machine)
    plan, name = chosen(Plan.open(path))
    assert name == f"{machine.trt.title} (Fake GPU)"
    (warning,) = (r.getMessage() for r in caplog.records if r.levelname == "WARNING")
    assert "Engines are built now" in warning
    assert difference.replace("\\", "") in warning
    made = plan.manifest.engines[-1]
    assert (made.tile, made.block, made.times, made.workspace) == (48, 64, 2, 1 << 25)
    assert Plan.open(path).manifest == plan.manifest, "and kept"


@pytest.mark.parametrize("other", OTHERS)
def test_engines_for_something_else_are_refused_where_nothing_may_be_built(
    path, monkeypatch, other, caplog
):
    changes, difference = OTHERS[other]
    built(path, Machine.make())
    before = path.read_bytes()
    offer(monkeypatch, Machine.make(**changes))
    words = rf"model\.plan has .*{difference}.*clit-deploy build"
    with pytest.raises(EngineError, match=words):
        chosen(Plan.open(path), "tensorrt", rebuild=False)
    name = chosen(Plan.open(path), "auto", rebuild=False)[1]
    assert name.startswith("onnxruntime")
    assert re.search(words, caplog.text), "and it says why"
    assert path.read_bytes() == before


def test_a_library_that_does_not_start_builds_nothing(path, monkeypatch, caplog):
    built(path, Machine.make())
    newer = Machine.make(version="10.7.0")
    newer.module.too_new = True
    offer(monkeypatch, newer)
    assert chosen(Plan.open(path))[1].startswith("onnxruntime")
    assert "ONNX Runtime is used instead of tensorrt: TensorRT 10.7.0 does not start" in caplog.text
    words = r"available are cpu\. TensorRT .* does not start"
    with pytest.raises(RuntimeUnavailableError, match=words):
        chosen(Plan.open(path), "tensorrt")


def test_every_difference_has_its_words(path, machine, monkeypatch):
    plan = built(path, machine)
    (engines,) = plan.manifest.engines

    def wrong(plan=plan, version="10.3.0", **gpu):
        return differences(plan, engines, version, dataclasses.replace(machine.cuda.gpu, **gpu))

    assert wrong() == []
    assert wrong(name="Other GPU") == ["they were built on a Fake GPU, not a Other GPU"]
    several = wrong(version="11", capability="9.0")
    assert len(several) == 2
    content = {name: plan.read(name) for name in plan.manifest.digests}
    changed = make_plan(plan.manifest, {**content, "encoder.onnx": b"another"})
    assert wrong(changed) == ["they were built from other graphs than the plan's"]


def test_engines_of_a_jetson_belong_to_its_release(path, monkeypatch):
    machine = Machine.make()
    monkeypatch.setattr(build_module, "jetson", lambda: Jetson("Orin", "36.4.3"))
    plan = built(path, machine)
    (engines,) = plan.manifest.engines
    assert engines.l4t == "36.4.3"
    gpu = machine.cuda.gpu
    assert differences(plan, engines, "10.3.0", gpu) == []
    monkeypatch.setattr(build_module, "jetson", lambda: Jetson("Orin", "36.5.0"))
    assert differences(plan, engines, "10.3.0", gpu) == [
        "they were built on L4T 36.4.3, not 36.5.0"
    ]


def test_jetson_modules_of_a_generation_are_told_apart(path, monkeypatch):
    """AGX Orin and Orin Nano are both `Orin` of 8.7; their engines live side by side."""
    large, small = (Machine.make(capability=(8, 7), processors=n) for n in (16, 8))
    plan = built(path, large)
    (engines,) = plan.manifest.engines
    assert differences(plan, engines, "10.3.0", large.cuda.gpu) == []
    assert differences(plan, engines, "10.3.0", small.cuda.gpu) == [
        "they were built for 16 multiprocessors, not 8"
    ]
    older = dataclasses.replace(engines, processors=None)
    assert differences(plan, older, "10.3.0", small.cuda.gpu) == []
    both = built(path, small).manifest.engines
    assert [x.processors for x in both] == [16, 8]
    assert len({x.engines[0].member for x in both}) == 2


def test_rtx_engines_without_named_targets_are_for_its_usual_ones(path):
    machine = Machine.make(Flavour.RTX)
    made = build_into(Plan.open(path), machine.trt, BuildOptions(), SMALL, None)
    (engines,) = made.manifest.engines
    gpu = machine.cuda.gpu
    assert differences(made, engines, "10.3.0", gpu) == []
    older = dataclasses.replace(gpu, capability="7.5")
    assert differences(made, engines, "10.3.0", older) == [
        "they were built for compute capability 8.0, 8.6, 8.9, 12.0, not 7.5"
    ]


# -- plans that cannot be written ----------------------------------------------------------------


def test_a_plan_that_cannot_be_written_still_runs(path, machine, monkeypatch, caplog):
    """Another process builds into it: the engines live in memory."""
    offer(monkeypatch, machine)
    before = path.read_bytes()
    with locked(path, "building engines into"):
        plan, name = chosen(Plan.open(path), "tensorrt")
    assert name.startswith("TensorRT")
    assert "the new engines are not stored: Another process is building" in caplog.text
    assert plan.manifest.engines[0].relative_error <= 1e-5, "they are compared all the same"
    assert path.read_bytes() == before


def test_a_plan_in_memory_still_runs(path, machine, monkeypatch, caplog):
    offer(monkeypatch, machine)
    plan = Plan.open(path)
    content = {name: plan.read(name) for name in plan.manifest.digests}
    _, name = chosen(make_plan(plan.manifest, content), "tensorrt")
    assert name.startswith("TensorRT")
    assert "not stored: The plan is not in a file" in caplog.text


def test_new_engines_that_are_wrong_are_an_error_and_not_kept(path, monkeypatch):
    offer(monkeypatch, Machine.make(noise=0.5))
    before = path.read_bytes()
    with pytest.raises(EngineError, match="has an error of"):
        chosen(Plan.open(path), "tensorrt")
    assert path.read_bytes() == before


# -- FP16 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("precision", "warns"), [("fp16", True), ("fp32", False)])
def test_half_precision_on_a_processor_warns(path, monkeypatch, caplog, precision, warns):
    offer(monkeypatch)
    plan = Plan.open(path)
    half = plan.replaced({}, precision=precision)
    chosen(half, "cpu")
    assert ("FP16 plan is slower than an FP32 plan on a CPU" in caplog.text) is warns
