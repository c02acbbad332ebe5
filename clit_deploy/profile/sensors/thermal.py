"""Temperatures, and the throttling that high ones, low voltages and high currents cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clit_deploy.profile.sensors.sensor import Sensor, SensorSet, index_of, name_in, reading

if TYPE_CHECKING:
    from pathlib import Path

MILLI = 1e-3

_SLOWING = ("cpufreq", "devfreq", "throttle", "processor")
"""In the types of cooling devices that slow the machine down; fans do not."""


def find(root: Path) -> SensorSet:
    """Thermal zones, cooling devices that throttle, the throttle counts of x86 CPUs, and how often
    a Jetson has throttled itself for voltage or current since it booted."""
    result = SensorSet()
    zones = root / "sys/class/thermal"
    for zone in sorted(zones.glob("thermal_zone*"), key=index_of):
        name = _unused(result, name_in(zone / "type", zone.name))
        result.add(Sensor(name, "temperature", reading(zone / "temp", MILLI)))
    for device in sorted(zones.glob("cooling_device*"), key=index_of):
        kind = name_in(device / "type")
        if any(word in kind.lower() for word in _SLOWING):
            name = _unused(result, f"cooling {kind}")
            result.add(Sensor(name, "throttle", reading(device / "cur_state")))
    for path in sorted(root.glob("sys/devices/system/cpu/cpu*/thermal_throttle/*_throttle_count")):
        name = f"{path.parents[1].name} {path.name.removesuffix('_throttle_count')} throttled"
        result.add(Sensor(name, "events", reading(path)))
    for path in sorted((root / "sys/class/hwmon").glob("hwmon*/oc*_event_cnt")):
        if name_in(path.with_name("name")) == "soctherm_oc":
            name = f"overcurrent {path.name.removesuffix('_event_cnt')}"
            result.add(Sensor(name, "events", reading(path)))
    return result


def _unused(found: SensorSet, name: str) -> str:
    """The name, with a number where several zones share it."""
    taken, unused, count = {sensor.name for sensor in found.sensors}, name, 1
    while unused in taken:
        count += 1
        unused = f"{name} {count}"
    return unused
