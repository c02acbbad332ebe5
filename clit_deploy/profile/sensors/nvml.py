"""NVIDIA's desktop and server GPUs, by the optional package nvidia-ml-py."""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from clit_deploy.profile.sensors.sensor import Quantity, Sensor, SensorSet
from clit_deploy.system.extras import install_command
from clit_deploy.system.proc_files import text_or

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

GRAPHICS, MEMORY, CORE_TEMPERATURE = 0, 2, 0
"""Numbers of NVML's clocks and of its temperature sensor."""

SLOWED = 0x4 | 0x8 | 0x20 | 0x40 | 0x80
"""Clock event reasons that slow a GPU: power cap, hardware, software and hardware heat, brake."""

DRIVER = "proc/driver/nvidia/version"


QUANTITIES: tuple[Quantity, ...] = (
    *("power", "energy", "clock", "temperature", "load", "memory", "throttle"),
)


def find(root: Path, only: Sequence[Quantity] = QUANTITIES) -> SensorSet:
    """What the GPU in use tells; each figure that it does not support has its reason."""
    if not text_or(root / DRIVER):
        return SensorSet(absent={"nvml": "there is no NVIDIA driver"})
    try:
        library = importlib.import_module("pynvml")
    except ImportError:
        hint = f"nvidia-ml-py is not installed; {install_command('nvml')}"
        return SensorSet(absent={"nvml": hint})
    try:
        library.nvmlInit()
        gpu = _used(library)
    except library.NVMLError as error:
        return SensorSet(absent={"nvml": f"NVML does not start ({error})"})
    if gpu is None:
        hint = "there are several GPUs, and without cuda-bindings none tells which one is used"
        return SensorSet(absent={"nvml": hint})
    return _figures(library, gpu, only)


def _used(library: Any) -> Any:
    """CUDA's first device, which need not be NVML's: `CUDA_VISIBLE_DEVICES` and CUDA's own order
    decide. None where there are several, and nothing tells."""
    bus = _bus()
    if bus is not None:
        return library.nvmlDeviceGetHandleByPciBusId(bus)
    return library.nvmlDeviceGetHandleByIndex(0) if library.nvmlDeviceGetCount() == 1 else None


def _bus() -> bytes | None:
    """Where CUDA's first device is plugged in. By the driver's own calls: unlike those of the
    runtime (`runtimes/cuda.py`), they wake no device before the idle power is measured."""
    try:
        driver = importlib.import_module("cuda.bindings.driver")
        _told(driver.cuInit(0))
        (device,) = _told(driver.cuDeviceGet(0))
        (bus,) = _told(driver.cuDeviceGetPCIBusId(16, device))
    except Exception as error:  # no bindings, no driver for them, or no device that may be seen
        log.debug("CUDA does not tell its device: %s", error)
        return None
    return bytes(bus).rstrip(b"\0")


def _told(answer: tuple[Any, ...]) -> tuple[Any, ...]:
    error, *values = answer
    if int(error):
        raise OSError(int(error), str(error))
    return tuple(values)


def _figures(library: Any, gpu: Any, only: Sequence[Quantity]) -> SensorSet:
    def asked(call: Callable[[], float]) -> Callable[[], float]:
        def read() -> float:
            try:
                return float(call())
            except library.NVMLError as error:
                raise OSError(None, str(error)) from error

        return read

    figures: list[tuple[str, Quantity, Callable[[], float]]] = [
        ("gpu board", "energy", lambda: library.nvmlDeviceGetTotalEnergyConsumption(gpu) * 1e-3),
        ("gpu", "clock", lambda: library.nvmlDeviceGetClockInfo(gpu, GRAPHICS)),
        ("gpu memory", "clock", lambda: library.nvmlDeviceGetClockInfo(gpu, MEMORY)),
        ("gpu", "temperature", lambda: library.nvmlDeviceGetTemperature(gpu, CORE_TEMPERATURE)),
        ("gpu load", "load", lambda: library.nvmlDeviceGetUtilizationRates(gpu).gpu / 100),
        ("gpu memory", "memory", lambda: library.nvmlDeviceGetMemoryInfo(gpu).used),
        ("gpu clocks", "throttle", lambda: _reasons(library)(gpu) & SLOWED),
    ]
    found = SensorSet()
    for name, quantity, call in figures:
        if quantity in only:
            energy = quantity == "energy"
            found.add(Sensor(name, quantity, asked(call), total=energy, covers=("gpu",)))
    if found.absent.pop("gpu board energy", None):  # before Volta there is no such counter
        power = asked(lambda: library.nvmlDeviceGetPowerUsage(gpu) * 1e-3)
        found.add(Sensor("gpu board", "power", power, total=True, covers=("gpu",)))
    return found


def _reasons(library: Any) -> Callable[[Any], int]:
    """The call changed its name; both mean the same bits."""
    new = getattr(library, "nvmlDeviceGetCurrentClocksEventReasons", None)
    call: Callable[[Any], int] = new or library.nvmlDeviceGetCurrentClocksThrottleReasons
    return call
