"""Clocks: cpufreq for processors, devfreq for a Jetson's GPU and memory (EMC)."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clit_deploy.profile.sensors.sensor import Sensor, SensorSet, reading
from clit_deploy.system.proc_files import text, text_or

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
"""Orin's memory clock; most systems let only root look there."""


@dataclass(frozen=True)
class Domain:
    """A clock with its limits."""

    name: str
    lower: Path
    upper: Path
    governor: str

    def locked(self) -> bool | None:
        """Whether the limits leave it no choice; None where they cannot be read."""
        try:
            return text(self.lower) == text(self.upper)
        except OSError:
            return None


def find(root: Path) -> tuple[SensorSet, list[Domain]]:
    """The clocks and loads that can be read, and the limits of those that have limits."""
    found, domains = SensorSet(), []
    for policy in _policies(root):
        name = f"cpu{policy.name.removeprefix('policy')}"
        if found.add(Sensor(name, "clock", reading(policy / "scaling_cur_freq", KILOHERTZ))):
            limits = policy / "scaling_min_freq", policy / "scaling_max_freq"
            domains.append(Domain(name, *limits, text_or(policy / "scaling_governor")))
    if not domains:
        found.absent["cpu clock"] = "this system has no cpufreq"
    for device in sorted((root / "sys/class/devfreq").glob("*")):
        matches = (k for pattern, k in DEVFREQ.items() if fnmatch.fnmatch(device.name, pattern))
        kind = next(matches, "")
        if kind and found.add(Sensor(kind, "clock", reading(device / "cur_freq", HERTZ))):
            limits = device / "min_freq", device / "max_freq"
            domains.append(Domain(kind, *limits, text_or(device / "governor")))
        if kind == "gpu":
            found.add(Sensor("gpu load", "load", reading(device / "device/load", PER_MILLE)))
    if any(d.name == "gpu" for d in domains) and not any(d.name == "emc" for d in domains):
        found.add(Sensor("emc", "clock", reading(root / EMC_DEBUG, HERTZ)))
    return found, domains


def _policies(root: Path) -> list[Path]:
    found = (root / "sys/devices/system/cpu/cpufreq").glob("policy*")
    return sorted(found, key=lambda path: int(path.name.removeprefix("policy")))
