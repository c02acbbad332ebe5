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

    def swapped() -> int | None:
        total, free = (kilobytes(root / "proc/meminfo", f"Swap{one}") for one in ("Total", "Free"))
        return None if total is None or free is None else total - free

    reads: dict[str, Callable[[], int | None]] = {
        PROCESS: memory.resident,
        MACHINE: memory.used,
        AVAILABLE: memory.available,
        SWAP: swapped,
    }
    return [Sensor(name, "memory", read) for name, read in reads.items() if read() is not None]
