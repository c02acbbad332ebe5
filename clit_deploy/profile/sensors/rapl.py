"""Energy of x86 CPUs (RAPL), where the system lets users other than root read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clit_deploy.profile.sensors.sensor import Sensor, SensorSet, name_in
from clit_deploy.system.proc_files import number

if TYPE_CHECKING:
    from pathlib import Path

MICRO = 1e-6


class Counter:
    """Joules since the first reading, from a counter that wraps around."""

    def __init__(self, zone: Path) -> None:
        self._path = zone / "energy_uj"
        self._range = zone / "max_energy_range_uj"
        self._last: float | None = None
        self._sum = 0.0

    def __call__(self) -> float:
        """Read it. A counter that wrapped twice between two readings would be missed: that takes
        minutes."""
        now = number(self._path)
        if self._last is not None:
            step = now - self._last
            self._sum += step if step >= 0 else step + number(self._range) + 1
        self._last = now
        return self._sum * MICRO


def find(root: Path) -> SensorSet:
    """Zones of the CPU; `psys` is the total where it exists, else packages and memory."""
    found = SensorSet()
    zones = {zone: name_in(zone / "name") for zone in sorted(_zones(root))}
    platform = "psys" in zones.values()
    for zone, kind in zones.items():
        package = zone.name.removeprefix("intel-rapl:").split(":")[0]
        name = kind if kind.startswith(("package", "psys")) else f"{kind}-{package}"
        wanted = kind == "psys" if platform else kind == "dram" or kind.startswith("package")
        found.add(Sensor(name, "energy", Counter(zone), total=wanted, covers=("cpu",)))
    return found


def _zones(root: Path) -> list[Path]:
    found = (root / "sys/class/powercap").glob("intel-rapl:*")  # AMD's have this name too
    return [zone for zone in found if (zone / "energy_uj").exists()]
