"""Clocks: cpufreq for CPU cores, devfreq for a Jetson's GPU and memory (EMC)."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

from clit_deploy.profile.sensors.sensor import (
    Domain,
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
    """The clocks and loads that can be read, and the limits of those that have limits."""
    found = SensorSet()
    policies = (root / "sys/devices/system/cpu/cpufreq").glob("policy*")
    for policy in sorted(policies, key=index_of):
        name = f"cpu{index_of(policy)}"
        if found.add(Sensor(name, "clock", reading(policy / "scaling_cur_freq", KILOHERTZ))):
            limits = policy / "scaling_min_freq", policy / "scaling_max_freq"
            found.domains.append(Domain(name, *limits, name_in(policy / "scaling_governor")))
    if not found.domains:
        found.absent["cpu clock"] = "this system has no cpufreq"
    for device in sorted((root / "sys/class/devfreq").glob("*")):
        matches = (k for pattern, k in DEVFREQ.items() if fnmatch.fnmatch(device.name, pattern))
        kind = next(matches, "")
        if kind and found.add(Sensor(kind, "clock", reading(device / "cur_freq", HERTZ))):
            limits = device / "min_freq", device / "max_freq"
            found.domains.append(Domain(kind, *limits, name_in(device / "governor")))
        if kind == "gpu":
            found.add(Sensor("gpu load", "load", reading(device / "device/load", PER_MILLE)))
    kinds = {domain.name for domain in found.domains}
    if "gpu" in kinds and "emc" not in kinds:
        found.add(Sensor("emc", "clock", reading(root / EMC_DEBUG, HERTZ)))
    return found
