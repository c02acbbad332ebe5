"""NVIDIA's library for desktop and server GPUs: which device is read, and what it has."""

from __future__ import annotations

import errno
import sys

import pytest

from clit_deploy.profile.machine import machine
from clit_deploy.profile.sensors import find, nvml
from tests.profile.tree import powered, read, refuse, sampled, unfold


class FakeNvml:
    """NVML of a desktop GPU; what is not supported raises as the library does."""

    class NVMLError(Exception):
        pass

    unsupported: frozenset[str] = frozenset()
    count = 1
    asked = None
    """The device that was asked last."""

    def __getattr__(self, name):
        values = {
            "nvmlInit": None,
            "nvmlDeviceGetCount": self.count,
            "nvmlDeviceGetHandleByIndex": "first",
            "nvmlDeviceGetHandleByPciBusId": "second",
            "nvmlDeviceGetTotalEnergyConsumption": 5000,
            "nvmlDeviceGetPowerUsage": 72_500,
            "nvmlDeviceGetTemperature": 61,
            "nvmlDeviceGetUtilizationRates": type("U", (), {"gpu": 87})(),
            "nvmlDeviceGetMemoryInfo": type("M", (), {"used": 2_000_000_000})(),
            "nvmlDeviceGetCurrentClocksEventReasons": 0x1 | 0x40,
        }
        if name == "nvmlDeviceGetClockInfo":

            def clock(gpu, kind):
                self.asked = gpu
                return {0: 1980, 2: 9501}[kind]

            return clock
        if name in self.unsupported:
            raise_ = self.NVMLError("Not Supported")
            return lambda *_: (_ for _ in ()).throw(raise_)
        return lambda *_: values[name]


class FakeDriver:
    """The module `cuda.bindings.driver`: the first device that programs see is the second one."""

    def __init__(self, error=0):
        self.error, self.calls = error, []

    def __getattr__(self, name):
        values = {"cuInit": (), "cuDeviceGet": (7,), "cuDeviceGetPCIBusId": (b"0000:02:00.0\0\0",)}
        self.calls.append(name)
        return lambda *_: (self.error, *values[name])


def nvidia(tmp_path, monkeypatch, library, driver=None):
    version = tmp_path / nvml.DRIVER
    version.parent.mkdir(parents=True, exist_ok=True)
    version.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue\n")
    monkeypatch.setitem(sys.modules, "pynvml", library)
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", driver)
    return nvml.find(tmp_path)


def test_of_several_gpus_the_one_that_cuda_uses_is_read(tmp_path, monkeypatch):
    library, driver = FakeNvml(), FakeDriver()
    library.count = 2
    nvidia(tmp_path, monkeypatch, library, driver)
    assert library.asked == "second"
    assert {c for c in driver.calls if c[0] != "_"} == {
        "cuInit",
        "cuDeviceGet",
        "cuDeviceGetPCIBusId",
    }, "wakes no device"


@pytest.mark.parametrize("driver", [None, FakeDriver(error=100)])
def test_one_gpu_needs_no_choice_and_several_are_not_guessed(tmp_path, monkeypatch, driver):
    library = FakeNvml()
    nvidia(tmp_path, monkeypatch, library, driver)
    assert library.asked == "first"
    library.count = 2
    found = nvidia(tmp_path, monkeypatch, library, driver)
    assert not found.sensors
    assert "several GPUs" in found.absent["nvml"]


def test_a_gpu_s_energy_is_not_that_of_work_on_the_processor(tmp_path, monkeypatch):
    """RAPL is for root alone, and NVML answers: a run on the processor has no total."""
    root = unfold("x86-desktop", tmp_path, monkeypatch)
    zones = (root / "sys/class/powercap").glob("*/energy_uj")
    refuse(dict.fromkeys(zones, errno.EACCES), monkeypatch)
    library = FakeNvml()
    library.unsupported = frozenset({"nvmlDeviceGetTotalEnergyConsumption"})
    nvidia(root, monkeypatch, library)
    found = find(root)
    steady = sampled(found)
    figures, why = powered(steady, {}, images=3, megapixels=1.0, worker="cpu")
    assert figures is None
    assert "CPU" in why
    assert found.absent["cpu power"] == "package-0 energy: only root may read it"
    figures, _ = powered(steady, {}, images=3, megapixels=1.0, worker="gpu")
    assert figures.mean_w == pytest.approx(72.5)
    assert "gpu power" not in found.absent


def test_the_load_that_devfreq_does_not_tell_comes_from_nvml(tmp_path, monkeypatch):
    root = unfold("thor-jetpack7", tmp_path, monkeypatch)
    nvidia(root, monkeypatch, FakeNvml())
    found = find(root)
    assert read(found, "load") == {"gpu load": 0.87}
    assert {s.name for s in found.of("power", "energy") if s.total} == {"VIN"}
    assert read(found, "clock") == {"cpu0": 2601, "gpu": 1575, "emc": 4266}


def test_nvml_figures_and_units(tmp_path, monkeypatch):
    found = nvidia(tmp_path, monkeypatch, FakeNvml())
    assert not found.absent
    assert read(found, "energy") == {"gpu board": 5.0}
    assert read(found, "clock") == {"gpu": 1980, "gpu memory": 9501}
    assert read(found, "temperature") == {"gpu": 61}
    assert read(found, "load") == {"gpu load": 0.87}
    assert read(found, "throttle") == {"gpu clocks": 0x40}
    assert machine(tmp_path).driver == "580.95.05"


def test_nvml_fields_that_are_not_supported(tmp_path, monkeypatch):
    library = FakeNvml()
    library.unsupported = frozenset(
        {"nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetUtilizationRates"}
    )
    found = nvidia(tmp_path, monkeypatch, library)
    assert read(found, "power") == {"gpu board": 72.5}
    assert found.absent == {"gpu load load": "it cannot be read (Not Supported)"}


def test_nvml_without_its_package_or_that_does_not_start(tmp_path, monkeypatch):
    library = FakeNvml()
    library.unsupported = frozenset({"nvmlInit"})
    found = nvidia(tmp_path, monkeypatch, library)
    assert found.absent == {"nvml": "NVML does not start (Not Supported)"}
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "pip install" in nvml.find(tmp_path).absent["nvml"]
