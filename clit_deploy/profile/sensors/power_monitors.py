"""Power of Jetson boards (INA3221 on modules, INA238 on Thor's carrier), and energy of x86 CPUs
(RAPL), where the system lets users other than root read it.

Sources: the kernel's `Documentation/hwmon` (mV, mA, uW) and `power/powercap` (uJ), and NVIDIA's
tables of rails.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from clit_deploy.profile.sensors.sensor import Sensor, SensorSet, name_in, reading
from clit_deploy.system.proc_files import number

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MILLI, MICRO = 1e-3, 1e-6

TOTALS = ("VIN", "VDD_IN", "POM_5V_IN")
"""Rails that feed all others, the widest first: VIN (Thor) includes the carrier board, VDD_IN is
the module alone."""

FED_BY = {"VDDQ_VDD2_1V8AO": "VIN_SYS_5V0"}
"""AGX Orin: the 5 V rail feeds the memory's rail, so a sum would count it twice."""

_NO_RAIL = {"", "nc", "sum of shunt voltages"}


def rails(root: Path) -> SensorSet:
    """A board's monitored rails; those that make up the total are marked, if all of them can be
    read."""
    found: dict[str, Callable[[], float]] = {}
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        kind = name_in(chip / "name")
        if kind == "ina3221":
            found.update(_ina3221(chip))
        elif kind == "ina238":
            label = name_in(chip / "power1_label", "VIN")
            found[label] = reading(chip / "power1_input", MICRO)
    result = SensorSet()
    for name, read in found.items():
        result.add(Sensor(name, "power", read))
    total = _total_of(list(found))
    if set(total) <= {sensor.name for sensor in result.sensors}:
        result.sensors = [replace(one, total=one.name in total) for one in result.sensors]
    return result


def _total_of(names: list[str]) -> list[str]:
    """The rails whose sum is all that the monitors measure, each watt once."""
    for name in TOTALS:
        if name in names:
            return [name]
    return [name for name in names if FED_BY.get(name) not in names]


def _ina3221(chip: Path) -> dict[str, Callable[[], float]]:
    found = {}
    for channel in (1, 2, 3):
        label = name_in(chip / f"in{channel}_label")
        off = name_in(chip / f"in{channel}_enable") == "0"
        if label.lower() not in _NO_RAIL and not off:
            found[label] = _product(chip / f"in{channel}_input", chip / f"curr{channel}_input")
    return found


def _product(volts: Path, amperes: Path) -> Callable[[], float]:
    return lambda: number(volts, MILLI) * number(amperes, MILLI)


def rapl(root: Path) -> SensorSet:
    """Zones of the CPU; `psys` is the total where it exists, else packages and memory."""
    found = SensorSet()
    zones = (root / "sys/class/powercap").glob("intel-rapl:*")  # AMD's have this name too
    counters = sorted(zone for zone in zones if (zone / "energy_uj").exists())
    kinds = {zone: name_in(zone / "name") for zone in counters}
    platform = "psys" in kinds.values()
    for zone, kind in kinds.items():
        package = zone.name.removeprefix("intel-rapl:").split(":")[0]
        name = kind if kind.startswith(("package", "psys")) else f"{kind}-{package}"
        wanted = kind == "psys" if platform else kind == "dram" or kind.startswith("package")
        found.add(Sensor(name, "energy", Counter(zone), total=wanted, covers=("cpu",)))
    return found


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
