"""What the doctor finds: here, and on machines with something missing."""

from __future__ import annotations

import importlib.metadata
import json
import sys

import pytest

from clit_deploy.errors import RuntimeUnavailableError
from clit_deploy.runtimes.cuda import cuda_api as cuda_module
from clit_deploy.runtimes.ort import ort_runtime as ort_module
from clit_deploy.runtimes.trt import tensorrt_api as trt_module
from clit_deploy.runtimes.webgpu.adapters import Adapter
from clit_deploy.runtimes.webgpu.plugin import Abilities
from clit_deploy.system import gpu_nodes
from clit_deploy.system import jetson as machine_module
from clit_deploy.system.jetson import Jetson
from clit_deploy.tasks import doctor
from tests.fakes.machine import Machine
from tests.helpers import cli

NAMES = ["Python", "ONNX Runtime", "Jetson", "GPU", "TensorRT", "TensorRT-RTX", "WebGPU", "Memory"]
NAMES += ["Cache", "Numbers", "Faster with"]


def finding(name):
    """What is found of one thing; the numbers, which take longest, are left out elsewhere."""
    checks = {
        "ONNX Runtime": doctor._onnxruntime,
        "Jetson": doctor._jetson,
        "GPU": doctor._device,
        "TensorRT": lambda: doctor._tensorrt(trt_module.Flavour.TENSORRT),
        "WebGPU": doctor._webgpu,
        "Cache": doctor._cache,
        "Faster with": doctor._advice,
        "Numbers": doctor._numbers,
    }
    found = checks[name]()
    assert found.name == name
    return found


@pytest.fixture
def board(monkeypatch):
    """Make this machine a Jetson."""

    def become(l4t):
        for module in (doctor, machine_module):
            monkeypatch.setattr(module, "jetson", lambda: Jetson("NVIDIA Jetson Orin", l4t))

    return become


@pytest.fixture
def no_tensorrt(monkeypatch):
    monkeypatch.setattr(doctor, "check_nvidia_driver", lambda: None)
    monkeypatch.setattr(trt_module, "_LOADED", {})
    monkeypatch.setitem(sys.modules, "tensorrt", None)


def test_on_this_machine():
    told = cli("doctor")
    assert told.returncode == 0, told.stdout + told.stderr
    for name in NAMES:
        assert f"\n  {name} " in f"\n{told.stdout}" or f"\n- {name} " in told.stdout
    assert "relative error" in told.stdout


def test_as_json():
    told = cli("doctor", "--json")
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)["findings"]
    assert [one["name"] for one in found] == NAMES
    assert {one["state"] for one in found} <= {"good", "absent"}
    assert all(one["repair"] for one in found if one["state"] == "fault")


def test_a_fault_is_marked_and_is_the_exit_code(tmp_path, monkeypatch):
    """The cache is to be a folder, and there is a file."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CLIT_DEPLOY_CACHE", str(tmp_path / "file" / "cache"))
    told = cli("doctor")
    assert told.returncode == 1
    assert "\n! Cache " in told.stdout
    assert "set CLIT_DEPLOY_CACHE to another folder" in told.stdout


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CLIT_DEPLOY_CACHE", str(tmp_path / "file"))
    found = finding("Cache")
    assert found.state == "fault"
    assert str(tmp_path) in found.found
    monkeypatch.setenv("CLIT_DEPLOY_CACHE", str(tmp_path / "new" / "deep"))
    assert finding("Cache").state == "good"
    assert not list((tmp_path / "new" / "deep").iterdir()), "nothing is left there"


def test_jetpack_6_without_tensorrt_is_a_fault_with_its_repair(board, no_tensorrt):
    board("36.4.3")
    assert finding("Jetson").state == "good"
    assert "L4T 36.4.3, JetPack 6.2" in finding("Jetson").found
    found = finding("TensorRT")
    assert (found.state, found.found) == ("fault", "not installed")
    assert "venv --system-site-packages" in found.repair
    assert "pip install" not in found.repair, "JetPack 6 does not run the packages of PyPI"
    board("38.2.0")
    assert "pip install" in finding("TensorRT").repair, "JetPack 7 does"


@pytest.mark.parametrize(
    ("l4t", "version", "advice"),
    [("36.4.3", "10.3.0", True), ("36.4.3", "10.7.0", False), ("38.2", "10.3.0", False)],
)
def test_the_tensorrt_of_jetpack_6_comes_with_a_remedy(board, monkeypatch, l4t, version, advice):
    """Users report wrong results of 10.3 there, and right ones of later versions."""
    board(l4t)
    monkeypatch.setattr(doctor, "load_tensorrt", lambda flavour: Machine.make(version=version).trt)
    found = finding("TensorRT")
    assert (found.state, found.found) == ("good", version)
    assert bool(found.repair) is advice
    if advice:
        assert "install 10.7 or newer" in found.repair
        assert "container tensorrt:26.03 (10.16)" in found.repair


def test_elsewhere_tensorrt_may_be_absent(monkeypatch, no_tensorrt):
    for module in (doctor, machine_module):
        monkeypatch.setattr(module, "jetson", lambda: None)
    found = finding("TensorRT")
    assert found.state == "absent"
    assert "pip install" in found.repair
    monkeypatch.undo()
    monkeypatch.setattr(gpu_nodes, "NVIDIA_NODES", ())
    monkeypatch.setattr(trt_module, "_LOADED", {})
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert finding("TensorRT").repair == "It needs an NVIDIA GPU and its driver first."


def test_jetpack_5_is_too_old(board):
    board("35.5.0")
    found = finding("Jetson")
    assert found.state == "fault"
    assert "JetPack 5" in found.found
    assert "--runtime cpu" in found.repair
    assert "JetPack 6.1" in found.repair


def test_a_jetpack_that_nobody_knows_yet_is_no_fault(board):
    board("41.1.0")
    assert finding("Jetson").state == "good"
    assert "L4T 41.1.0, JetPack unknown" in finding("Jetson").found


def test_both_packages_of_onnx_runtime_are_a_fault(monkeypatch):
    """They share one folder, and which of them is imported is chance."""
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.32.0")
    found = finding("ONNX Runtime")
    assert found.state == "fault"
    assert "both installed" in found.found
    assert "pip uninstall onnxruntime onnxruntime-gpu" in found.repair


def test_a_cuda_provider_that_does_not_start_is_a_fault(monkeypatch):
    monkeypatch.setattr(doctor, "_installed", lambda name: name == "onnxruntime-gpu")
    monkeypatch.setattr(ort_module, "check_nvidia_driver", lambda: None)
    offered = [ort_module.CUDA, ort_module.CPU]
    monkeypatch.setattr(doctor.ort, "get_available_providers", lambda: offered)
    monkeypatch.setattr(ort_module, "provider_starts", lambda provider: False)
    found = finding("ONNX Runtime")
    assert found.state == "fault"
    assert "does not start" in found.repair


def test_a_device_is_described(monkeypatch):
    machine = Machine.make(total=4_000_000_000, capability=(8, 7))
    monkeypatch.setattr(cuda_module, "_bindings", lambda: machine.api)
    found = finding("GPU")
    assert found.state == "good"
    for words in (
        "Fake GPU",
        "capability 8.7",
        "CUDA 12.6",
        "4.00 GB of 4.00 GB free",
        "dedicated",
    ):
        assert words in found.found


def test_no_device_is_no_fault_but_has_its_reason(monkeypatch):
    def nothing():
        raise RuntimeUnavailableError("There is no NVIDIA driver on this machine.")

    monkeypatch.setattr(doctor, "open_cuda", nothing)
    found = finding("GPU")
    assert (found.state, found.repair) == ("absent", "There is no NVIDIA driver on this machine.")


GPU = Adapter("Radeon 780M", "integrated", "radv Mesa 25", 4_294_967_295, "high-performance")
PROGRAM = Adapter("SwiftShader", "software", "SwiftShader driver", 1 << 30, None)


@pytest.fixture
def gpu(monkeypatch):
    """A machine with a GPU and a software adapter, on which the plugin works."""
    monkeypatch.setattr(doctor, "found_adapters", lambda: [GPU, PROGRAM])
    monkeypatch.setattr(doctor, "check_installed", lambda: "0.4.0")
    monkeypatch.setattr(doctor, "tried", lambda adapter: Abilities(fp16=True))
    monkeypatch.setattr(gpu_nodes, "NVIDIA_NODES", ())


def test_adapters_are_listed_with_their_numbers(gpu, monkeypatch):
    found = finding("WebGPU")
    assert (found.state, found.repair) == ("good", None)
    assert found.found == (
        "0: Radeon 780M (integrated), driver radv Mesa 25, tensors to 4.29 GB, FP16 works; "
        "1: SwiftShader (software), driver SwiftShader driver, tensors to 1.07 GB"
    )
    assert finding("Faster with").found == "--runtime webgpu"
    monkeypatch.setattr(doctor, "tried", lambda adapter: Abilities(fp16=False))
    assert "no FP16" in finding("WebGPU").found


def test_a_gpu_without_the_plugin_is_absent_with_its_repair(gpu, monkeypatch):
    words = "WebGPU needs a package, which is not installed. pip install it"

    def missing():
        raise RuntimeUnavailableError(words)

    monkeypatch.setattr(doctor, "check_installed", missing)
    found = finding("WebGPU")
    assert (found.state, found.repair) == ("absent", words)
    assert "WebGPU: pip install" in finding("Faster with").found


def test_a_plugin_that_fails_on_a_gpu_is_a_fault(gpu, monkeypatch):
    def crashes(adapter):
        raise RuntimeUnavailableError("The WebGPU plugin fails on Radeon 780M (signal 11).")

    monkeypatch.setattr(doctor, "tried", crashes)
    found = finding("WebGPU")
    assert (found.state, "signal 11" in found.repair) == ("fault", True)


def test_without_a_gpu_nothing_is_to_be_repaired(gpu, monkeypatch):
    monkeypatch.setattr(doctor, "found_adapters", lambda: [PROGRAM])
    assert finding("WebGPU").state == "good"
    assert "a GPU, or more CPU cores" in finding("Faster with").found
    monkeypatch.setattr(doctor, "found_adapters", list)
    assert finding("WebGPU").state == "absent"


def test_wrong_numbers_are_a_fault(monkeypatch):
    """A library that computes something else, seen by the proof of the default model."""
    samples = doctor.stored_samples(doctor.Plan.open(doctor.default_model().plan))
    samples[0].expected[...] += 0.5
    monkeypatch.setattr(doctor, "stored_samples", lambda plan: samples)
    found = finding("Numbers")
    assert (found.state, found.found) == ("fault", "wrong")
    assert "Reinstall onnxruntime" in found.repair
