"""Loading TensorRT and building with it: every refusal is a sentence with its reason."""

from __future__ import annotations

import importlib.util
import re
import signal
import sys
import types

import onnx
import pytest
from onnx import TensorProto, helper

from clit_deploy.engines.build import build_engines
from clit_deploy.errors import (
    BuildError,
    DeviceMemoryError,
    EngineError,
    GraphRunError,
    RuntimeUnavailableError,
)
from clit_deploy.plan.plan_file import Plan
from clit_deploy.runtimes.trt import callbacks
from clit_deploy.runtimes.trt import tensorrt_api as trt_module
from clit_deploy.runtimes.trt.engine_builder import BuildOptions, EngineBuilder
from clit_deploy.runtimes.trt.tensorrt_api import Flavour, load_tensorrt
from clit_deploy.system import interrupts
from clit_deploy.system import jetson as machine_module
from clit_deploy.system.extras import install_command
from clit_deploy.system.jetson import Jetson, jetson
from tests.fakes.machine import Machine
from tests.fakes.tensorrt import Builder, IProgressMonitor

SHAPES = {"x": ((None, 1), (None, 4), (None, 9))}


@pytest.fixture
def fresh(monkeypatch):
    """No library is loaded yet."""
    monkeypatch.setattr(trt_module, "_LOADED", {})


def graph(op="Relu"):
    """`y = op(x)`, with x `[2, n]`."""
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, "n"]) for n in "xy")
    made = helper.make_graph([helper.make_node(op, ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def build(machine, content, shapes=SHAPES, options=None):
    builder = EngineBuilder(machine.trt)
    return builder.build("tiny.onnx", content, [shapes], options or BuildOptions())


# -- loading -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flavour", "extra"), [(Flavour.TENSORRT, "tensorrt-cu12"), (Flavour.RTX, "rtx")]
)
def test_a_missing_library_is_named_with_its_repair(fresh, monkeypatch, flavour, extra):
    monkeypatch.setitem(sys.modules, flavour.module, None)
    monkeypatch.setattr(machine_module, "jetson", lambda: None)
    repair = re.escape(f"Install it with {install_command(extra)} ")
    with pytest.raises(RuntimeUnavailableError, match=rf"cannot be imported .*{repair}"):
        load_tensorrt(flavour)


def test_on_a_jetson_the_library_is_the_system_s(fresh, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setattr(machine_module, "jetson", lambda: Jetson("Orin", "36.4.3"))
    with pytest.raises(RuntimeUnavailableError, match=r"venv --system-site-packages"):
        load_tensorrt(Flavour.TENSORRT)


@pytest.mark.parametrize("version", ["8.5.2.2", "8.6.2", "10.2.0"])
def test_a_library_too_old_for_typed_graphs_is_refused(fresh, monkeypatch, version):
    monkeypatch.setitem(sys.modules, "tensorrt", types.SimpleNamespace(__version__=version))
    with pytest.raises(RuntimeUnavailableError, match=rf"{version} has no strongly typed.*10\.3"):
        load_tensorrt(Flavour.TENSORRT)


def test_a_library_is_loaded_once(fresh, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", Machine.make(version="10.3.0.26").module)
    loaded = load_tensorrt(Flavour.TENSORRT)
    assert loaded.title == "TensorRT 10.3.0.26"
    assert load_tensorrt(Flavour.TENSORRT) is loaded


@pytest.mark.parametrize("part", ["Builder", "Runtime"])
def test_a_driver_too_old_for_the_library_is_what_it_says(part):
    machine = Machine.make()
    engine = build(machine, graph())[0]
    machine.module.too_new = True
    words = (
        r"^TensorRT 10\.3\.0 does not start: CUDA initialization .* error: 35 .*--runtime cpu\.$"
    )
    with pytest.raises(RuntimeUnavailableError, match=words):
        build(machine, graph()) if part == "Builder" else machine.trt.deserialize(engine, "x")


@pytest.mark.parametrize(
    ("release", "model", "l4t", "jetpack"),
    [
        ("# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic", "Orin", "36.4.3", "6.2"),
        ("# R35 (release), REVISION: 5.0, GCID: 1", "NVIDIA Jetson Xavier", "35.5.0", "5"),
        ("", "NVIDIA Jetson Orin Nano\0", None, None),
    ],
)
def test_a_jetson_is_known_by_its_files(tmp_path, release, model, l4t, jetpack):
    assert jetson(tmp_path) is None
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/model").write_text(model)
    (tmp_path / "etc").mkdir()
    if release:
        (tmp_path / "etc/nv_tegra_release").write_text(release)
    board = jetson(tmp_path)
    assert (board.model, board.l4t, board.jetpack) == (model.strip("\0"), l4t, jetpack)


# -- building ------------------------------------------------------------------------------------


def test_an_engine_has_the_full_profiles_of_its_graph():
    """A length that the graph fixes is not the caller's to know."""
    engine, profiles, _ = build(Machine.make(), graph())
    assert profiles == [{"x": ((2, 1), (2, 4), (2, 9))}]
    assert engine


def test_products_keep_the_precision_of_their_types():
    """TF32, which builders allow unasked, rounds FP32 to ten bits; types come from the graph."""
    machine = Machine.make()
    build(machine, graph())
    assert machine.module.configs[-1].cleared == machine.module.BuilderFlag.TF32


def test_the_workspace_is_what_was_asked_for():
    machine = Machine.make()
    build(machine, graph(), options=BuildOptions(workspace=1 << 28))
    build(machine, graph())
    limited, free = (config.limits for config in machine.module.configs)
    assert limited == {machine.module.MemoryPoolType.WORKSPACE: 1 << 28}
    assert free == {}


def test_the_timing_cache_goes_from_graph_to_graph(plans):
    plan, machine = Plan.open(plans["liif"]), Machine.make()
    options = BuildOptions(timing_cache=b"before")
    made, cache = build_engines(plan, machine.trt, options, gpu=machine.cuda.gpu)
    assert cache == b"before" + b"+" * len(made.manifest.engines[0].engines)


def test_what_the_parser_says_is_shown_in_full(monkeypatch):
    machine = Machine.make()
    with pytest.raises(BuildError, match=r"cannot read tiny\.onnx: this is no ONNX graph$"):
        build(machine, b"\xff\xff no graph")
    several = types.SimpleNamespace(
        parse=lambda content: False,
        num_errors=2,
        get_error=lambda k: types.SimpleNamespace(desc=lambda: f"reason {k}"),
    )
    monkeypatch.setattr(machine.module, "OnnxParser", lambda *_: several, raising=False)
    with pytest.raises(BuildError, match=r"reason 0; reason 1$"):
        build(machine, graph())


def test_what_the_builder_logs_is_the_reason():
    made = onnx.load_model_from_string(graph())
    made.graph.node[0].op_type = "GridSample"
    with pytest.raises(BuildError, match=r"cannot build.*tiny\.onnx: no implementation of GridS"):
        build(Machine.make(), made.SerializeToString())


def test_an_input_that_no_profile_speaks_of():
    with pytest.raises(BuildError, match=r"input x of tiny\.onnx has no"):
        build(Machine.make(), graph(), {"other": SHAPES["x"]})


def test_profiles_may_speak_of_inputs_that_a_graph_does_not_have():
    _, profiles, _ = build(Machine.make(), graph(), {**SHAPES, "bias": SHAPES["x"]})
    assert list(profiles[0]) == ["x"]


def test_a_capability_that_is_not_offered_is_answered_with_those_that_are():
    rtx = Machine.make(Flavour.RTX)
    with pytest.raises(BuildError, match=r"8\.7; it supports 7\.5, 8\.6, 8\.9, 12\.0\.$"):
        build(rtx, graph(), options=BuildOptions(("8.6", "8.7")))
    build(rtx, graph(), options=BuildOptions(("8.6", "12.0")))
    config = rtx.module.configs[-1]
    assert config.num_compute_capabilities == 2
    assert config.capabilities == {0: 86, 1: 120}


def test_tensorrt_builds_for_the_device_that_is_present_alone():
    with pytest.raises(BuildError, match="omit --compute-capability"):
        build(Machine.make(), graph(), options=BuildOptions(("8.6",)))


def test_tensorrt_needs_the_device_to_build(plans):
    with pytest.raises(BuildError, match="only on a machine with a GPU"):
        build_engines(Plan.open(plans["liif"]), Machine.make().trt, BuildOptions())


# -- engines -------------------------------------------------------------------------------------


def test_a_damaged_engine_is_one_sentence_with_the_library_s_reason():
    with pytest.raises(EngineError, match=r"cannot load the engine of tiny\.onnx: magic num"):
        Machine.make().trt.deserialize(b"junk", "tiny.onnx")


def test_an_engine_says_what_it_takes_and_gives():
    machine = Machine.make()
    engine = machine.trt.deserialize(build(machine, graph())[0], "tiny.onnx")
    x, y = machine.trt.tensors(engine)
    assert (x.name, x.dtype, x.is_input, x.shape) == ("x", "float32", True, (2, -1))
    assert (y.name, y.is_input) == ("y", False)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("[defaultAllocator.cpp::allocate::31] Error Code 1: Cuda Runtime (out of memory)", True),
        ("Error Code 2: OutOfMemory (Requested size was 123 bytes.)", True),
        ("Requested amount of GPU memory (123 bytes) could not be allocated.", True),
        ("Error Code 1: Cublas (CUBLAS_STATUS_ALLOC_FAILED)", True),
        ("Error Code 1: Cuda Runtime (an illegal memory access was encountered)", False),
        ("Error Code 3: API Usage Error (memory is not 256-byte aligned)", False),
    ],
)
def test_only_lack_of_memory_is_called_so(said, kind):
    trt = Machine.make().trt
    trt.messages.append(said)
    error = trt.failed(GraphRunError, "it cannot run")
    assert type(error) is (DeviceMemoryError if kind else GraphRunError)
    assert said in str(error)


@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="TensorRT-RTX is not installed"
)
def test_the_real_tensorrt_rtx_builds_and_refuses():
    """It needs no device to build."""
    real = types.SimpleNamespace(trt=load_tensorrt(Flavour.RTX))
    engine, profiles, cache = build(real, graph(), options=BuildOptions(("8.6",)))
    assert len(engine) > 100
    assert (profiles, cache) == ([{"x": ((2, 1), (2, 4), (2, 9))}], None)
    with pytest.raises(BuildError, match=r"1\.2; it supports 7\.5, 8\.0"):
        build(real, graph(), options=BuildOptions(("1.2",)))
    with pytest.raises(BuildError, match="cannot read tiny"):
        build(real, b"\xff\xff no graph")


def test_a_signal_cancels_the_build(machine, monkeypatch):
    """It is noted while TensorRT builds, which asks its progress monitor after each step."""

    def step(*_):
        patch.setattr(interrupts, "_noted", signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(IProgressMonitor, "entered", step)
        with pytest.raises(interrupts.Interrupted) as stopped:
            build(machine, graph())
        assert stopped.value.exit_code == 143
    assert machine.trt.last_errors() == "the build was cancelled"
    assert build(machine, graph())


def test_an_exception_within_tensorrt_stops_the_build(machine, caplog):
    """It arises in the logger, as Ctrl-C does in a library, and C++ lets no exception through."""

    class Stopped(BaseException):
        pass

    def stop(record):
        raise Stopped

    caplog.set_level("DEBUG", callbacks.log.name)
    callbacks.log.addFilter(stop)
    try:
        machine.trt.logger.log(machine.module.ILogger.ERROR, "at work")
    finally:
        callbacks.log.removeFilter(stop)
    with pytest.raises(Stopped):
        build(machine, graph())
    assert build(machine, graph())  # once is enough


def test_a_builder_without_room_names_the_limit(machine, monkeypatch):
    monkeypatch.setattr(Builder, "build_serialized_network", lambda *_: None)
    with pytest.raises(BuildError, match=r"cannot build .* Increase --workspace"):
        build(machine, graph(), options=BuildOptions(workspace=1000))
    with pytest.raises(BuildError) as caught:
        build(machine, graph())
    assert "--workspace" not in str(caught.value)
