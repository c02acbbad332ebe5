"""Clocks: cpufreq for CPU cores, devfreq for a Jetson's GPU and memory (EMC)."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

from clit_deploy.profile.sensors.sensor import (
    ClockLimits,
    Sensor,
    SensorSet,
    index_of,
    name_in,
    reading,
)

if TYPE_CHECKING:
    from pathlib import Path

KILOHERTZ, HERTZ = 1e-3, 1e-6
"""In megahertz."""
PER_MILLE = 1e-3

DEVFREQ = {
    "*.gpu": "gpu",
    "*.ga10b": "gpu",
    "gpu-gpc-*": "gpu",
    "bwmgr": "emc",
}
"""Names of devices, from JetPack 5 to 7: Orin (two), Thor, and Thor's memory."""

EMC_DEBUG = "sys/kernel/debug/bpmp/debug/clk/emc/rate"
"""Orin's memory clock; on most systems only root may read it."""


def find(root: Path) -> SensorSet:
    """The clocks and loads that can be read, with the limits of those that have limits."""
    found = SensorSet()
    policies = (root / "sys/devices/system/cpu/cpufreq").glob("policy*")
    for policy in sorted(policies, key=index_of):
        read = reading(policy / "scaling_cur_freq", KILOHERTZ)
        limits = _limits(policy, "scaling_")
        found.add(Sensor(f"cpu{index_of(policy)}", "clock", read, limits=limits))
    if not found.sensors:
        found.absent["cpu clock"] = "this system has no cpufreq"
    for device in sorted((root / "sys/class/devfreq").glob("*")):
        matches = (k for pattern, k in DEVFREQ.items() if fnmatch.fnmatch(device.name, pattern))
        if kind := next(matches, ""):
            read = reading(device / "cur_freq", HERTZ)
            found.add(Sensor(kind, "clock", read, limits=_limits(device)))
        if kind == "gpu":
            found.add(Sensor("gpu load", "load", reading(device / "device/load", PER_MILLE)))
    names = {clock.name for clock in found.of("clock")}
    if "gpu" in names and "emc" not in names:
        found.add(Sensor("emc", "clock", reading(root / EMC_DEBUG, HERTZ)))
    return found


def _limits(folder: Path, before: str = "") -> ClockLimits:
    lower, upper, governor = (
        folder / f"{before}{name}" for name in ("min_freq", "max_freq", "governor")
    )
    return ClockLimits(lower, upper, name_in(governor))
