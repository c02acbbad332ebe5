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


def find(root: Path, only: Sequence[Quantity] = ()) -> SensorSet:
    """The figures of the GPU in use, or those of some quantities; missing ones have a reason."""
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
        hint = "there are several GPUs, and only cuda-bindings shows which one is used"
        return SensorSet(absent={"nvml": hint})
    return _figures(library, gpu, only)


def _used(library: Any) -> Any:
    """CUDA's first device, which may not be NVML's: `CUDA_VISIBLE_DEVICES` and CUDA's own order
    decide. None where there are several and CUDA cannot be asked."""
    bus = _bus()
    if bus is not None:
        return library.nvmlDeviceGetHandleByPciBusId(bus)
    return library.nvmlDeviceGetHandleByIndex(0) if library.nvmlDeviceGetCount() == 1 else None


def _bus() -> bytes | None:
    """PCI address of CUDA's first device. By the driver's own calls: unlike those of the CUDA
    runtime, they wake no device before the idle power is measured."""
    try:
        driver = importlib.import_module("cuda.bindings.driver")
        _checked(driver.cuInit(0))
        (device,) = _checked(driver.cuDeviceGet(0))
        (bus,) = _checked(driver.cuDeviceGetPCIBusId(16, device))
    except Exception as error:  # no bindings, no driver for them, or no visible device
        log.debug("CUDA does not report its device: %s", error)
        return None
    return bytes(bus).rstrip(b"\0")


def _checked(answer: tuple[Any, ...]) -> tuple[Any, ...]:
    error, *values = answer
    if int(error):
        raise OSError(int(error), str(error))
    return tuple(values)


def _figures(library: Any, gpu: Any, only: Sequence[Quantity]) -> SensorSet:
    def reader(call: Callable[[], float]) -> Callable[[], float]:
        def read() -> float:
            try:
                return float(call())
            except library.NVMLError as error:
                raise OSError(None, str(error)) from error

        return read

    # The call by its new or its old name; both return the same bits.
    new = getattr(library, "nvmlDeviceGetCurrentClocksEventReasons", None)
    slowing = new or library.nvmlDeviceGetCurrentClocksThrottleReasons
    figures: list[tuple[str, Quantity, Callable[[], float]]] = [
        ("gpu board", "energy", lambda: library.nvmlDeviceGetTotalEnergyConsumption(gpu) * 1e-3),
        ("gpu", "clock", lambda: library.nvmlDeviceGetClockInfo(gpu, GRAPHICS)),
        ("gpu memory", "clock", lambda: library.nvmlDeviceGetClockInfo(gpu, MEMORY)),
        ("gpu", "temperature", lambda: library.nvmlDeviceGetTemperature(gpu, CORE_TEMPERATURE)),
        ("gpu load", "load", lambda: library.nvmlDeviceGetUtilizationRates(gpu).gpu / 100),
        ("gpu memory", "memory", lambda: library.nvmlDeviceGetMemoryInfo(gpu).used),
        ("gpu clocks", "throttle", lambda: slowing(gpu) & SLOWED),
    ]
    found = SensorSet()
    for name, quantity, call in figures:
        if not only or quantity in only:
            energy = quantity == "energy"
            found.add(Sensor(name, quantity, reader(call), total=energy, covers=("gpu",)))
    if found.absent.pop("gpu board energy", None):  # GPUs before Volta have no such counter
        power = reader(lambda: library.nvmlDeviceGetPowerUsage(gpu) * 1e-3)
        found.add(Sensor("gpu board", "power", power, total=True, covers=("gpu",)))
    return found
