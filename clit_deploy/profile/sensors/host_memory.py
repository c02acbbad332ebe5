"""Memory and swap as sensors, which every profile samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clit_deploy.profile.sensors.sensor import Sensor
from clit_deploy.system import memory
from clit_deploy.system.proc_files import kilobytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROCESS, MACHINE, AVAILABLE, SWAP = "process", "machine", "available", "swap"
"""Names: bytes that this process holds, that are in use, that can be taken, that are swapped."""


def find(root: Path) -> list[Sensor]:
    """Those that this system has."""
    reads: dict[str, Callable[[], int | None]] = {
        PROCESS: memory.resident,
        MACHINE: memory.used,
        AVAILABLE: memory.available,
        SWAP: lambda: _swapped(root),
    }
    return [
        Sensor(name, "memory", _number(read)) for name, read in reads.items() if read() is not None
    ]


def _swapped(root: Path) -> int | None:
    total, free = (kilobytes(root / "proc/meminfo", field) for field in ("SwapTotal", "SwapFree"))
    return None if total is None or free is None else total - free


def _number(read: Callable[[], int | None]) -> Callable[[], float]:
    def number() -> float:
        value = read()
        if value is None:
            raise ValueError
        return value

    return number
