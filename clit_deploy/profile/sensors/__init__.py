"""All sensors of this machine that can be read without root."""

from __future__ import annotations

from pathlib import Path

from clit_deploy.profile.sensors import clocks, hwmon, nvml, rapl, thermal
from clit_deploy.profile.sensors.clocks import Domain
from clit_deploy.profile.sensors.sensor import SensorSet

__all__ = ["Domain", "SensorSet", "find"]

NO_POWER = "no power monitor was found (a Jetson's INA3221 or INA238, RAPL, NVML)"


def find(root: Path = Path("/")) -> tuple[SensorSet, list[Domain]]:
    """Look for every sensor under `root`, and for the limits of the clocks."""
    found, domains = clocks.find(root)
    found.join(thermal.find(root))
    found.join(hwmon.overcurrent(root))
    board = hwmon.rails(root)
    if board.sensors:
        sources = {"cpu": board, "gpu": board}
        if found.of("load"):
            found.absent["nvml"] = "the board's own monitors are read instead"
        else:  # Thor's devfreq tells none
            found.join(nvml.find(root, only=("load",)))
    else:
        sources = {"cpu": rapl.find(root), "gpu": nvml.find(root)}
    for source in {id(one): one for one in sources.values()}.values():
        found.join(source)
    held = {part for one in found.of("power", "energy") if one.total for part in one.covers}
    for part in sources.keys() - held:
        found.absent[f"{part} power"] = _why(sources[part])
    return found, domains


def _why(source: SensorSet) -> str:
    """Why a source of power has no total."""
    return next((f"{name}: {why}" for name, why in source.absent.items()), NO_POWER)
