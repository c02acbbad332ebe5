"""All sensors of this machine that can be read without root."""

from __future__ import annotations

from pathlib import Path

from clit_deploy.profile.sensors import clocks, hwmon, nvml, rapl, thermal
from clit_deploy.profile.sensors.base import Found
from clit_deploy.profile.sensors.clocks import Domain

__all__ = ["Domain", "Found", "find"]

NO_POWER = "no power monitor was found (a Jetson's INA3221 or INA238, RAPL, NVML)"


def find(root: Path = Path("/")) -> tuple[Found, list[Domain]]:
    """Look for every sensor under `root`, and for the limits of the clocks."""
    found, domains = clocks.find(root)
    found.join(thermal.find(root))
    found.join(hwmon.overcurrent(root))
    board = hwmon.rails(root)
    found.join(board)
    if board.sensors:
        found.absent["nvml"] = "the board's own monitors are read instead"
    else:
        found.join(rapl.find(root))
        found.join(nvml.find(root))
    if not found.of("power", "energy"):
        denied = [name for name in found.absent if name.startswith(("package", "psys"))]
        found.absent["power"] = (
            f"RAPL's {denied[0]}: {found.absent[denied[0]]}" if denied else NO_POWER
        )
    return found, domains
