import onnxruntime as ort
import pytest

from clit_deploy.config import RuntimeName
from clit_deploy.errors import RuntimeUnavailableError
from clit_deploy.runtimes.ort import CPU, CUDA, open_runtime, usable_cpus


def offer(monkeypatch, *providers):
    monkeypatch.setattr(ort, "get_available_providers", lambda: list(providers))


def test_auto_takes_cuda_where_it_is(monkeypatch):
    offer(monkeypatch, CUDA, CPU)
    runtime = open_runtime(RuntimeName.AUTO)
    assert "CUDA" in runtime.name
    assert runtime.workers == 1


def test_auto_takes_the_cpu_elsewhere(monkeypatch, caplog):
    offer(monkeypatch, CPU)
    with caplog.at_level("INFO"):
        runtime = open_runtime(RuntimeName.AUTO, threads=3)
    assert "CPU, 3 threads" in runtime.name
    assert runtime.workers == 3
    assert "runtime auto: cpu" in caplog.text


def test_a_missing_cuda_says_how_to_get_it(monkeypatch):
    offer(monkeypatch, CPU)
    with pytest.raises(RuntimeUnavailableError, match="pip install onnxruntime-gpu"):
        open_runtime(RuntimeName.CUDA)


def test_threads_default_to_what_may_be_used():
    assert open_runtime(RuntimeName.CPU).workers == usable_cpus() >= 1


def test_a_decoder_runs_on_one_thread_an_encoder_on_all(monkeypatch, plans):
    seen = []

    class Session:
        def __init__(self, graph, options, providers):
            seen.append((options.intra_op_num_threads, providers))

        def get_inputs(self):
            return []

    monkeypatch.setattr(ort, "InferenceSession", Session)
    runtime = open_runtime(RuntimeName.CPU, threads=4)
    runtime.runner(b"", wide=True)
    runtime.runner(b"", wide=False)
    assert seen == [(4, [CPU]), (1, [CPU])]
