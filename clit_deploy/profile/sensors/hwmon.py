"""Power rails of Jetson boards: the monitors INA3221 (modules) and INA238 (Thor's carrier).

Sources: the kernel's `Documentation/hwmon` (mV, mA, uW), and NVIDIA's tables of rails.
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
    """The monitored rails; those that make up the total are marked, if all of them can be read."""
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
    total = total_of(list(found))
    if set(total) <= {sensor.name for sensor in result.sensors}:
        result.sensors = [replace(one, total=one.name in total) for one in result.sensors]
    return result


def total_of(names: list[str]) -> list[str]:
    """The rails whose sum is all that the monitors measure, each watt once."""
    for name in TOTALS:
        if name in names:
            return [name]
    return [name for name in names if FED_BY.get(name) not in names]


def overcurrent(root: Path) -> SensorSet:
    """How often the board has throttled itself for voltage or current since it booted."""
    result = SensorSet()
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if name_in(chip / "name") == "soctherm_oc":
            for path in sorted(chip.glob("oc*_event_cnt")):
                name = f"overcurrent {path.name.removesuffix('_event_cnt')}"
                result.add(Sensor(name, "events", reading(path)))
    return result


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
