"""NVIDIA's desktop and server GPUs, by the optional package nvidia-ml-py."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from clit_deploy.extras import install_command
from clit_deploy.profile.sensors.base import Found, Quantity, Sensor, text_or

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GRAPHICS, MEMORY, CORE_TEMPERATURE = 0, 2, 0
"""Numbers of NVML's clocks and of its temperature sensor."""

SLOWED = 0x4 | 0x8 | 0x20 | 0x40 | 0x80
"""Clock event reasons that slow a GPU: power cap, hardware, software and hardware heat, brake."""

DRIVER = "proc/driver/nvidia/version"


def find(root: Path) -> Found:
    """What the first GPU tells; each figure that it does not support has its reason."""
    if not text_or(root / DRIVER):
        return Found(absent={"nvml": "there is no NVIDIA driver"})
    try:
        library = importlib.import_module("pynvml")
    except ImportError:
        hint = f"nvidia-ml-py is not installed; {install_command('nvml')}"
        return Found(absent={"nvml": hint})
    try:
        library.nvmlInit()
        gpu = library.nvmlDeviceGetHandleByIndex(0)
    except library.NVMLError as error:
        return Found(absent={"nvml": f"NVML does not start ({error})"})
    return _figures(library, gpu)


def _figures(library: Any, gpu: Any) -> Found:
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
    found = Found()
    for name, quantity, call in figures:
        found.add(Sensor(name, quantity, asked(call), total=quantity == "energy"))
    if found.absent.pop("gpu board energy", None):  # before Volta there is no such counter
        power = asked(lambda: library.nvmlDeviceGetPowerUsage(gpu) * 1e-3)
        found.add(Sensor("gpu board", "power", power, total=True))
    return found


def _reasons(library: Any) -> Callable[[Any], int]:
    """The call changed its name; both mean the same bits."""
    new = getattr(library, "nvmlDeviceGetCurrentClocksEventReasons", None)
    call: Callable[[Any], int] = new or library.nvmlDeviceGetCurrentClocksThrottleReasons
    return call
