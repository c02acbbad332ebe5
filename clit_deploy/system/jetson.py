"""The Jetson model and its JetPack version, from files that need no root."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from clit_deploy.system.proc_files import text_or

ROOT = Path("/")

JETPACKS = {
    "35": "5",
    "36.3": "6.0",
    "36.4": "6.1",
    "36.4.3": "6.2",
    "36.4.4": "6.2.1",
    "36.5": "6.2.2",
    "38.2": "7.0",
    "38.4": "7.1",
    "39.2": "7.2",
    "39.2.2": "7.2.2",
}
"""JetPack by release of Jetson Linux (L4T); 36.4 is 36.4.0, and 35 stands for all of JetPack 5."""


@dataclass(frozen=True)
class Jetson:
    """A Jetson module and its system."""

    model: str
    l4t: str | None
    """Release of Linux for Tegra (L4T), like `36.4.3`."""
    package: str | None = None
    """Version of the package nvidia-jetpack, if it is installed."""

    @property
    def jetpack(self) -> str | None:
        """The JetPack version: that of the package, otherwise the one of the L4T release."""
        if self.package or self.l4t is None:
            return self.package
        names = self.l4t, self.l4t.removesuffix(".0"), self.l4t.split(".")[0]
        return next((JETPACKS[name] for name in names if name in JETPACKS), None)

    @property
    def has_pip_tensorrt(self) -> bool:
        """Whether it takes the TensorRT of PyPI, as JetPack 7 does."""
        return self.jetpack is not None and int(self.jetpack.split(".")[0]) >= 7


def jetson(root: Path | None = None) -> Jetson | None:
    """This Jetson; None on other machines."""
    root = root or ROOT
    model = text_or(root / "proc/device-tree/model")
    release = text_or(root / "etc/nv_tegra_release")
    if not release and "jetson" not in model.lower():
        return None
    found = re.search(r"R(\d+).*?REVISION:\s*([\d.]+)", release)
    l4t = f"{found[1]}.{found[2]}" if found else None
    return Jetson(model or "an unknown Jetson", l4t, _package(root))


def _package(root: Path) -> str | None:
    """The version of nvidia-jetpack in dpkg's list, which can have several megabytes."""
    try:
        packages = (root / "var/lib/dpkg/status").read_text(errors="replace")
    except OSError:
        return None
    stanza = re.search(r"^Package: nvidia-jetpack\n(?:.+\n)*?Version: ([\d.]+)", packages, re.M)
    return stanza[1] if stanza else None
