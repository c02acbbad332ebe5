"""All sensors of this machine that can be read without root."""

from __future__ import annotations

from pathlib import Path

from clit_deploy.profile.sensors import clocks, nvml, power_monitors, thermal
from clit_deploy.profile.sensors.sensor import SensorSet

__all__ = ["SensorSet", "find"]

NO_POWER = "no power monitor was found (a Jetson's INA3221 or INA238, RAPL, NVML)"


def find(root: Path = Path("/")) -> SensorSet:
    """Look for every sensor under `root`, where `sys` and `proc` are."""
    found = clocks.find(root)
    found.join(thermal.find(root))
    board = power_monitors.rails(root)
    if board.sensors:
        sources = {"cpu": board, "gpu": board}
        if found.of("load"):
            found.absent["nvml"] = "the board's own monitors are read instead"
        else:  # Thor's devfreq has no load
            found.join(nvml.find(root, only=("load",)))
    else:
        sources = {"cpu": power_monitors.rapl(root), "gpu": nvml.find(root)}
    for source in {id(one): one for one in sources.values()}.values():
        found.join(source)
    covered = {part for one in found.of("power", "energy") if one.total for part in one.covers}
    for part in sources.keys() - covered:
        reasons = (f"{name}: {why}" for name, why in sources[part].absent.items())
        found.absent[f"{part} power"] = next(reasons, NO_POWER)
    return found
