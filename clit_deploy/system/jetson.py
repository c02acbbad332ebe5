"""What machine this is, read from files that anybody may read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")

JETPACKS = {"35": "5", "36.3": "6.0", "36.4": "6.1 or 6.2", "36.5": "6.2", "38": "7.0 or 7.1",
            "39": "7.2"}  # fmt: skip
"""JetPack by L4T release."""


@dataclass(frozen=True)
class Jetson:
    """A Jetson module and its system."""

    model: str
    l4t: str | None
    """Release of Linux for Tegra, like `36.4.3`."""

    @property
    def jetpack(self) -> str | None:
        """The JetPack that the release belongs to, as far as known."""
        found = [name for start, name in JETPACKS.items() if f"{self.l4t}.".startswith(f"{start}.")]
        return found[0] if found else None


def jetson(root: Path = ROOT) -> Jetson | None:
    """The module, or None on other machines."""
    model = _text(root / "proc/device-tree/model").strip("\0 \n")
    release = _text(root / "etc/nv_tegra_release")
    if not release and "jetson" not in model.lower():
        return None
    found = re.search(r"R(\d+).*?REVISION:\s*([\d.]+)", release)
    return Jetson(model or "an unknown Jetson", f"{found[1]}.{found[2]}" if found else None)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
