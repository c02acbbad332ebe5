import numpy as np
import onnxruntime as ort
import pytest

from clit_deploy.bundle import Plan
from clit_deploy.config import RuntimeName
from clit_deploy.errors import GraphRunError, RuntimeUnavailableError
from clit_deploy.runtimes import ort as ort_module
from clit_deploy.runtimes.ort import CPU, CUDA, open_runtime, sums_overflow, usable_cpus


def offer(monkeypatch, *providers):
    monkeypatch.setattr(ort, "get_available_providers", lambda: list(providers))


def test_auto_takes_cuda_where_it_is(monkeypatch):
    offer(monkeypatch, CUDA, CPU)
    monkeypatch.setattr(ort_module, "_starts", lambda provider: provider == CUDA)
    runtime = open_runtime(RuntimeName.AUTO)
    assert "CUDA" in runtime.name
    assert runtime.appetite.workers == 1


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_cuda_provider_that_does_not_start_is_not_used_silently(monkeypatch, caplog):
    """The provider is offered, but sessions end on the CPU: as without CUDA's libraries."""
    offer(monkeypatch, CUDA, CPU)
    assert "CPU" in open_runtime(RuntimeName.AUTO).name
    assert "does not start" in caplog.text
    with pytest.raises(RuntimeUnavailableError, match="does not start"):
        open_runtime(RuntimeName.CUDA)


def test_errors_of_the_runtime_are_one_sentence(plans):
    runner = open_runtime(RuntimeName.CPU, 1).runner(
        Plan.open(plans["liif"]), "encoder.onnx", wide=True
    )
    with pytest.raises(GraphRunError, match="cannot run a graph") as caught:
        runner.run({"image": np.zeros((1, 5, 8, 8), np.float32)})
    assert "\n" not in str(caught.value)
    with pytest.raises(GraphRunError, match="cannot load a graph"):
        open_runtime(RuntimeName.CPU).runner(Plan.open(plans["liif"]), "tables.npz", wide=True)


def test_auto_takes_the_cpu_elsewhere(monkeypatch, caplog):
    offer(monkeypatch, CPU)
    with caplog.at_level("INFO"):
        runtime = open_runtime(RuntimeName.AUTO, threads=3)
    assert "CPU, 3 threads" in runtime.name
    assert runtime.appetite.workers == 3
    assert "runtime auto: cpu" in caplog.text


def test_a_missing_cuda_says_how_to_get_it(monkeypatch):
    offer(monkeypatch, CPU)
    with pytest.raises(RuntimeUnavailableError, match="pip install onnxruntime-gpu"):
        open_runtime(RuntimeName.CUDA)


def test_threads_default_to_what_may_be_used():
    assert open_runtime(RuntimeName.CPU).appetite.workers == usable_cpus() >= 1


def test_a_decoder_runs_on_one_thread_an_encoder_on_all(monkeypatch, plans):
    seen = []

    class Session:
        def __init__(self, graph, options, providers, disabled_optimizers):
            seen.append((options.intra_op_num_threads, providers))

        def get_inputs(self):
            return []

    monkeypatch.setattr(ort, "InferenceSession", Session)
    runtime = open_runtime(RuntimeName.CPU, threads=4)
    plan = Plan.open(plans["liif"])
    runtime.runner(plan, "encoder.onnx", wide=True)
    runtime.runner(plan, "encoder.onnx", wide=False)
    assert seen == [(4, [CPU]), (1, [CPU])]


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
