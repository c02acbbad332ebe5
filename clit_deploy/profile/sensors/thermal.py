"""Temperatures, and what slows a machine when they rise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clit_deploy.profile.sensors.sensor import Sensor, SensorSet, reading
from clit_deploy.system.proc_files import text_or

if TYPE_CHECKING:
    from pathlib import Path

MILLI = 1e-3

_SLOWING = ("cpufreq", "devfreq", "throttle", "processor")
"""In the types of cooling devices that slow the machine down; fans do not."""


def find(root: Path) -> SensorSet:
    """Thermal zones, cooling devices that throttle, and the throttle counts of x86 processors."""
    result = SensorSet()
    zones = root / "sys/class/thermal"
    for zone in sorted(zones.glob("thermal_zone*"), key=_number):
        name = text_or(zone / "type") or zone.name
        result.add(Sensor(_unused(result, name), "temperature", reading(zone / "temp", MILLI)))
    for device in sorted(zones.glob("cooling_device*"), key=_number):
        kind = text_or(device / "type")
        if any(word in kind.lower() for word in _SLOWING):
            name = _unused(result, f"cooling {kind}")
            result.add(Sensor(name, "throttle", reading(device / "cur_state")))
    for path in sorted(root.glob("sys/devices/system/cpu/cpu*/thermal_throttle/*_throttle_count")):
        name = f"{path.parents[1].name} {path.name.removesuffix('_throttle_count')} throttled"
        result.add(Sensor(name, "events", reading(path)))
    return result


def _number(path: Path) -> int:
    return int("".join(filter(str.isdecimal, path.name)) or 0)


def _unused(found: SensorSet, name: str) -> str:
    """The name, with a number where several zones have the same one."""
    taken = {sensor.name for sensor in found.sensors}
    return next(n for n in (name, *(f"{name} {k}" for k in range(2, 1000))) if n not in taken)
