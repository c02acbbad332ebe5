"""What stands between us and CUDA: each thing that may be missing, and each kind of refusal."""

from __future__ import annotations

import re
import sys

import pytest

from clit_deploy.errors import DeviceError, DeviceMemoryError, RuntimeUnavailableError
from clit_deploy.runtimes.cuda import cuda_api as cuda_module
from clit_deploy.runtimes.cuda.cuda_api import Cuda, open_cuda, show_version
from clit_deploy.system import gpu_nodes
from clit_deploy.system.extras import install_command
from clit_deploy.system.jetson import Jetson
from tests.fakes.cuda import Error, FakeCuda


def offer(monkeypatch, api):
    monkeypatch.setattr(cuda_module, "_bindings", lambda: api)


def test_a_device_says_what_it_is(monkeypatch):
    offer(monkeypatch, FakeCuda(total=1 << 20, driver=12060, capability=(8, 7)))
    cuda = open_cuda()
    gpu = cuda.gpu
    assert (gpu.name, gpu.capability, gpu.driver) == ("Fake GPU", "8.7", "12.6")
    assert (gpu.memory, gpu.integrated) == (1 << 20, False)
    pointer = cuda.malloc(1 << 10)
    assert cuda.memory() == ((1 << 20) - (1 << 10), 1 << 20)
    cuda.free(pointer)
    assert cuda.memory() == (1 << 20, 1 << 20)


@pytest.mark.parametrize(
    ("platform", "node", "library", "words"),
    [
        ("linux", False, False, "There is no NVIDIA driver and no NVIDIA GPU on this machine"),
        ("linux", False, True, r"is an NVIDIA driver \(libcuda.so.1\), but no device file.*--gpus"),
        ("linux", True, False, "The NVIDIA driver is missing: libcuda.so.1 cannot be loaded"),
        ("win32", False, False, "The NVIDIA driver is missing: nvcuda.dll cannot be loaded"),
        ("darwin", False, False, "run on Linux and Windows only"),
        ("linux", True, True, None),
        ("win32", False, True, None),
    ],
)
def test_what_is_missing_at_the_bottom_is_said_first(
    monkeypatch, tmp_path, platform, node, library, words
):
    """Before any package is named: none of them would help."""
    monkeypatch.setattr(sys, "platform", platform)
    nodes = (tmp_path, tmp_path) if node else (tmp_path / "no", tmp_path / "neither")
    monkeypatch.setattr(gpu_nodes, "NVIDIA_NODES", nodes)
    monkeypatch.setattr(gpu_nodes, "_loads", lambda name: library)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    with pytest.raises(RuntimeUnavailableError, match=words or "needs the package") as caught:
        open_cuda()
    assert ("pip install" in str(caught.value)) is (words is None)


def test_without_bindings_there_is_the_command_to_install_them(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    monkeypatch.setattr(cuda_module, "check_nvidia_driver", lambda: None)
    monkeypatch.setattr(cuda_module, "jetson", lambda: None)
    with pytest.raises(RuntimeUnavailableError, match=r"cuda-bindings.*(pip install.*){3}"):
        open_cuda()
    monkeypatch.setattr(cuda_module, "jetson", lambda: Jetson("Orin", "36.4.3"))
    command = re.escape(install_command("jetson"))
    with pytest.raises(RuntimeUnavailableError, match=f"Install it with {command}.$"):
        open_cuda()


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ({"driver": 0}, "NVIDIA driver is missing"),
        ({"driver": 11040}, r"supports CUDA 11\.4, but 12\.0 or newer.*Update the driver"),
        ({"devices": 0}, r"no device \(cudaErrorNoDevice\).*CUDA_VISIBLE_DEVICES"),
    ],
)
def test_without_a_device_the_reason_is_one_sentence(monkeypatch, device, words):
    offer(monkeypatch, FakeCuda(**device))
    with pytest.raises(RuntimeUnavailableError, match=words) as caught:
        open_cuda()
    assert "\n" not in str(caught.value)


def test_a_driver_too_old_for_the_bindings(monkeypatch):
    api = FakeCuda()
    api.cudaGetDeviceCount = lambda: (Error.cudaErrorInsufficientDriver, 0)
    offer(monkeypatch, api)
    with pytest.raises(RuntimeUnavailableError, match=r"CUDA 12\.6.*too old.*cuda-bindings"):
        open_cuda()


def test_a_driver_that_does_not_start(monkeypatch):
    api = FakeCuda()
    api.cudaDriverGetVersion = lambda: (Error.cudaErrorInvalidValue, 12060)
    offer(monkeypatch, api)
    with pytest.raises(RuntimeUnavailableError, match="does not start"):
        open_cuda()


def test_codes_of_errors_become_exceptions():
    cuda = Cuda(FakeCuda(total=1000))
    with pytest.raises(DeviceMemoryError, match="cudaMalloc"):
        cuda.malloc(2000)
    with pytest.raises(DeviceError, match=r"cudaFree failed: cudaErrorInvalidValue"):
        cuda.free(12345)
    assert issubclass(DeviceMemoryError, MemoryError)
    assert issubclass(DeviceError, RuntimeError)


def test_this_machine_has_a_device_or_says_why_not():
    """The real bindings, whatever is behind them."""
    try:
        found = open_cuda().gpu.capability
    except RuntimeUnavailableError as error:
        found = str(error)
    assert re.search(r"^\d+\.\d$|pip install|--runtime cpu|Update the driver", found)


def test_versions_are_shown_as_people_write_them():
    assert [show_version(n) for n in (11040, 12060, 13000)] == ["11.4", "12.6", "13.0"]
