import types

import numpy as np
import onnxruntime as ort
import pytest

import clit_deploy
from clit_deploy.config import RuntimeName
from clit_deploy.errors import (
    DeviceMemoryError,
    GraphRunError,
    MemoryBudgetError,
    RuntimeUnavailableError,
)
from clit_deploy.plan.plan_file import Plan
from clit_deploy.runtimes.ort import ort_runtime as ort_module
from clit_deploy.runtimes.ort.ort_runners import BoundRunner, run_options
from clit_deploy.runtimes.ort.ort_runtime import open_runtime
from clit_deploy.runtimes.ort.sessions import CPU, CUDA, sums_overflow, usable_cpus
from clit_deploy.runtimes.usage import Usage
from clit_deploy.system import gpu_nodes
from tests.fakes.tensorrt import numbers_at
from tests.helpers import photo


def offer(monkeypatch, *providers):
    monkeypatch.setattr(ort, "get_available_providers", lambda: list(providers))


def test_auto_takes_cuda_where_it_is(monkeypatch):
    offer(monkeypatch, CUDA, CPU)
    monkeypatch.setattr(ort_module, "provider_starts", lambda provider: provider == CUDA)
    runtime = open_runtime(RuntimeName.AUTO)
    assert "CUDA" in runtime.name
    assert runtime.work_limits.workers == 2
    assert runtime.work_limits.cell_classes


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_cuda_provider_that_does_not_start_is_not_used_silently(monkeypatch, caplog):
    """The provider is offered, but sessions end on the CPU: as without CUDA's libraries."""
    monkeypatch.setattr(ort_module, "check_nvidia_driver", lambda: None)
    offer(monkeypatch, CUDA, CPU)
    assert "CPU" in open_runtime(RuntimeName.AUTO).name
    assert "does not start" in caplog.text
    with pytest.raises(RuntimeUnavailableError, match="does not start"):
        open_runtime(RuntimeName.CUDA)


def test_errors_of_the_runtime_are_one_sentence(plans):
    runner = open_runtime(RuntimeName.CPU, 1).runner(
        Plan.open(plans["liif"]), "encoder.onnx", parallel=True
    )
    with pytest.raises(GraphRunError, match="cannot run a graph") as caught:
        runner.run({"image": np.zeros((1, 5, 8, 8), np.float32)})
    assert "\n" not in str(caught.value)
    with pytest.raises(GraphRunError, match="cannot load a graph"):
        open_runtime(RuntimeName.CPU).runner(Plan.open(plans["liif"]), "tables.npz", parallel=True)


def test_auto_takes_the_cpu_elsewhere(monkeypatch, caplog):
    offer(monkeypatch, CPU)
    with caplog.at_level("INFO"):
        runtime = open_runtime(RuntimeName.AUTO, threads=3)
    assert "CPU, 3 threads" in runtime.name
    assert runtime.work_limits.workers == 3
    assert "runtime auto: cpu" in caplog.text


def test_a_missing_driver_is_said_before_a_missing_package(monkeypatch):
    offer(monkeypatch, CPU)
    monkeypatch.setattr(gpu_nodes, "NVIDIA_NODES", ())
    monkeypatch.setattr(gpu_nodes, "_loads", lambda name: False)
    with pytest.raises(RuntimeUnavailableError, match="NVIDIA driver") as caught:
        open_runtime(RuntimeName.CUDA)
    assert "pip" not in str(caught.value)


def test_a_missing_cuda_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(ort_module, "check_nvidia_driver", lambda: None)
    offer(monkeypatch, CPU)
    with pytest.raises(RuntimeUnavailableError, match="pip install onnxruntime-gpu"):
        open_runtime(RuntimeName.CUDA)


def test_what_runs_engines_is_not_taken_for_the_processor():
    with pytest.raises(RuntimeUnavailableError, match="does not provide tensorrt-rtx"):
        open_runtime(RuntimeName.TENSORRT_RTX)


def test_threads_default_to_what_may_be_used():
    assert open_runtime(RuntimeName.CPU).work_limits.workers == usable_cpus() >= 1


def test_a_decoder_runs_on_one_thread_an_encoder_on_all(monkeypatch, plans):
    seen = []

    class Session:
        def __init__(self, graph, options, providers, disabled_optimizers):
            seen.append((options.intra_op_num_threads, providers))

        def get_inputs(self):
            return []

        def get_outputs(self):
            return [types.SimpleNamespace(name="features", shape=[])]

    monkeypatch.setattr(ort, "InferenceSession", Session)
    runtime = open_runtime(RuntimeName.CPU, threads=4)
    plan = Plan.open(plans["liif"])
    runtime.runner(plan, "encoder.onnx", parallel=True)
    runtime.runner(plan, "encoder.onnx", parallel=False)
    assert seen == [(4, [CPU]), (1, [CPU])]


def test_layers_are_timed_in_a_pass_of_their_own(plans):
    with clit_deploy.load(plans["clit"]) as up:
        up.runtime.start_layers()
        for _ in range(3):
            up.upscale(photo(12, 12), scale=2)
        layers = up.runtime.layers()
        assert not up.runtime.layers()
    manifest = Plan.open(plans["clit"]).manifest
    stage = manifest.stages[0]
    members = {layer.member for layer in layers}
    assert members == {manifest.encoder.graph, stage.project, stage.decode}
    convolutions = [layer for layer in layers if layer.kind.endswith("Conv")]
    assert convolutions
    assert all(layer.ms > 0 for layer in convolutions)
    assert {layer.runs for layer in convolutions if layer.member == "encoder.onnx"} == {2}
    assert [layer.ms for layer in layers] == sorted((x.ms for x in layers), reverse=True)


# -- CUDA: tensors that stay on the device -------------------------------------------------------

FLOAT, HALF = np.dtype(np.float32), np.dtype(np.float16)


class Doubling:
    """A session of `y = 2 x + table` on the fake device, and its own binding."""

    def __init__(self, arrays):
        self.arrays, self.inputs, self.outputs, self.options = arrays, {}, {}, None

    def get_inputs(self):
        kinds = {"x": "tensor(float16)", "table": "tensor(float)"}
        return [types.SimpleNamespace(name=name, type=kind) for name, kind in kinds.items()]

    def get_outputs(self):
        if self.options is None:
            return [types.SimpleNamespace(name="y", type="tensor(float16)")]
        return [self.made]

    def io_binding(self):
        return self

    def bind_input(self, name, device, index, dtype, shape, pointer):
        self.inputs[name] = device, index, dtype, shape, pointer

    def bind_output(self, name, device, index):
        self.outputs[name] = device, index

    def run_with_iobinding(self, binding, options):
        self.options = options
        _, _, dtype, shape, pointer = self.inputs["x"]
        table = self.inputs["table"][4]
        y = self.arrays.empty(tuple(shape), HALF)
        self.made = types.SimpleNamespace(shape=lambda: shape, data_ptr=lambda: y.pointer, keeps=y)

        def work():
            x, more = numbers_at(pointer, shape, dtype), numbers_at(table, (1,), FLOAT)
            numbers_at(y.pointer, shape, HALF)[...] = 2 * x + more.astype(HALF)

        self.arrays.compute.add(work)


@pytest.fixture
def session(arrays):
    return Doubling(arrays)


@pytest.fixture
def bound(session, arrays):
    options = run_options(on_device=True)
    return BoundRunner(session, options, Usage(lambda: None), arrays)


def test_tensors_of_the_device_are_bound_where_they_are(session, bound, arrays, api):
    x = arrays.upload(np.arange(6).reshape(2, 3).astype(np.float32), HALF)
    pinned = api.count("copy")
    y = bound.run({"x": x, "table": np.array([0.5], np.float32), "other": np.zeros(9)})
    assert session.inputs["x"] == ("cuda", 0, HALF, [2, 3], x.pointer)
    assert session.outputs == {"y": ("cuda", 0)}
    assert api.count("copy") == pinned + 1, "only the table is uploaded"
    assert set(session.inputs) == {"x", "table"}, "what the graph does not have is not bound"
    assert (y.shape, y.dtype, y.pointer) == ((2, 3), HALF, session.made.data_ptr())
    assert np.array_equal(arrays.host(y), 2 * np.arange(6).reshape(2, 3) + 0.5)


def test_tensors_of_the_host_are_uploaded_in_the_graph_s_types(session, bound, arrays):
    x, table = np.full((4,), 1.5), np.array([1.0], np.float32)
    y = bound.run({"x": x, "table": table})
    assert (session.inputs["x"][2], session.inputs["table"][2]) == (HALF, FLOAT)
    assert np.array_equal(arrays.host(y), np.full(4, 4.0))


def test_nobody_waits_for_a_run(session, bound, arrays):
    """ONNX Runtime would wait by itself after every run."""
    bound.run({"x": np.zeros(3, np.float32), "table": np.zeros(1, np.float32)})
    key = "disable_synchronize_execution_providers"
    assert session.options.get_run_config_entry(key) == "1"
    assert arrays.compute.work


def test_an_output_lives_as_long_as_a_view_of_it(session, bound, arrays):
    feeds = {"x": np.arange(8, dtype=np.float32), "table": np.zeros(1, np.float32)}
    view = bound.run(feeds)[2:4]
    session.made = None
    others = [arrays.zeros((8,), HALF) for _ in range(4)]
    assert np.array_equal(arrays.host(view), [4, 6])
    assert all(not arrays.host(other).any() for other in others)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (RuntimeError("bad node\nat line 3"), GraphRunError, "cannot run a graph: bad node$"),
        (RuntimeError("Failed to allocate memory"), MemoryBudgetError, "Out of memory"),
        (DeviceMemoryError("Out of device memory: 9 MB"), DeviceMemoryError, "9 MB$"),
    ],
)
def test_errors_of_a_bound_run_keep_their_meaning(session, bound, monkeypatch, error, kind, words):
    def refuse(binding, options):
        raise error

    monkeypatch.setattr(session, "run_with_iobinding", refuse)
    with pytest.raises(kind, match=words):
        bound.run({"x": np.zeros(3, np.float32), "table": np.zeros(1, np.float32)})


def test_cuda_computes_on_the_device_s_stream(arrays):
    """So that copies and graphs are one order, and nobody has to wait in between."""
    ((name, options), _) = ort_module.OrtRuntime(True, 1, arrays)._providers
    assert name == CUDA
    assert options["user_compute_stream"] == str(int(arrays.compute))
    assert options["use_tf32"] == 0


def test_cuda_without_a_way_to_the_device_still_runs_and_says_so(monkeypatch, caplog):
    offer(monkeypatch, CUDA, CPU)
    monkeypatch.setattr(ort_module, "provider_starts", lambda provider: True)

    def nothing():
        raise RuntimeUnavailableError("CUDA needs the package cuda-bindings.")

    monkeypatch.setattr(ort_module, "open_cuda", nothing)
    assert "CUDA" in open_runtime("cuda").name
    assert "travel to the host between graphs, which is slow: CUDA needs" in caplog.text


@pytest.mark.parametrize(
    ("machine", "flags", "expected"),
    [
        ("x86_64", "flags : sse2 avx2 avx512f", True),
        ("x86_64", "flags : avx2 avx512_vnni", False),
        ("AMD64", None, True),
        ("aarch64", "Features : asimd", False),
    ],
)
def test_bytes_are_multiplied_exactly_where_sums_would_saturate(tmp_path, machine, flags, expected):
    cpuinfo = tmp_path / "cpuinfo"
    if flags is not None:
        cpuinfo.write_text(flags)
    assert sums_overflow(machine, cpuinfo) is expected
