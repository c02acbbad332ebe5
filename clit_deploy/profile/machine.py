"""What machine this is and how it is set: read from files, never changed."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

from clit_deploy.profile.profile_file import Machine
from clit_deploy.profile.sensors.nvml import DRIVER
from clit_deploy.profile.sensors.sensor import text_or

if TYPE_CHECKING:
    from pathlib import Path

JETPACKS = {
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
"""JetPack by release of Jetson Linux (L4T), for systems without the package nvidia-jetpack."""

QUERY = ["nvpmodel", "-q"]

LIBRARIES = (
    *("clit-deploy", "numpy", "onnxruntime", "onnxruntime-gpu", "cuda-bindings"),
    *("tensorrt", "tensorrt-cu12", "tensorrt-cu13", "tensorrt-rtx", "tensorrt-rtx-cu13"),
)


def machine(root: Path) -> Machine:
    """Describe the machine; what is not to be known is None, with its reason."""
    reasons: dict[str, str] = {}
    l4t = _l4t(root)
    jetpack = _jetpack(root, l4t)
    mode = power_mode(root)
    if l4t is None:
        reasons["l4t"] = reasons["jetpack"] = "this is no Jetson (/etc/nv_tegra_release)"
        reasons["power_mode"] = "only Jetsons have one"
    else:
        reasons["jetpack"] = f"L4T {l4t} is in no table, and nvidia-jetpack is not installed"
        reasons["power_mode"] = "neither nvpmodel nor its files tell"
    driver = re.search(r"^NVRM version:.*?\s(\d+(?:\.\d+)+)\s", text_or(root / DRIVER) + "\n")
    reasons["memory_bytes"] = "there is no /proc/meminfo"
    reasons["driver"] = "there is no /proc/driver/nvidia/version"
    found = Machine(
        module=_module(root),
        processor=_processor(root),
        processors=os.cpu_count() or 1,
        memory_bytes=kilobytes(root, "MemTotal"),
        l4t=l4t,
        jetpack=jetpack,
        power_mode=mode,
        driver=driver[1] if driver else None,
        kernel=platform.release(),
        versions=versions(),
        reasons={},
    )
    found.reasons.update({k: why for k, why in reasons.items() if getattr(found, k) is None})
    return found


def kilobytes(root: Path, field: str) -> int | None:
    """A line of /proc/meminfo, in bytes."""
    line = re.search(rf"^{field}:\s+(\d+) kB", text_or(root / "proc/meminfo"), re.MULTILINE)
    return int(line[1]) * 1024 if line else None


def swapped(root: Path) -> int | None:
    """Bytes of swap in use."""
    total, free = kilobytes(root, "SwapTotal"), kilobytes(root, "SwapFree")
    return None if total is None or free is None else total - free


def power_mode(root: Path) -> str | None:
    """The name of a Jetson's power mode, from nvpmodel's own files, else from nvpmodel."""
    number = re.search(r"pmode:\s*0*(\d+)", text_or(root / "var/lib/nvpmodel/status"))
    if number:
        modes = text_or(root / "etc/nvpmodel.conf")
        name = re.search(rf"POWER_MODEL\s+ID={number[1]}\s+NAME=(\S+)", modes)
        return name[1] if name else f"mode {number[1]}"
    if str(root) != "/" or shutil.which("nvpmodel") is None:
        return None
    try:
        told = subprocess.run(QUERY, capture_output=True, text=True, timeout=5, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    name = re.search(r"NV Power Mode:\s*(\S+)", told.stdout)
    return name[1] if name else None


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide a run, without importing them."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _l4t(root: Path) -> str | None:
    release = text_or(root / "etc/nv_tegra_release")
    found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", release)
    return f"{found[1]}.{found[2]}" if found else None


def _jetpack(root: Path, l4t: str | None) -> str | None:
    if l4t is None:
        return None
    try:
        packages = (root / "var/lib/dpkg/status").read_text(errors="replace")
    except OSError:
        packages = ""
    stanza = re.search(r"^Package: nvidia-jetpack\n(?:.+\n)*?Version: ([\d.]+)", packages, re.M)
    return stanza[1] if stanza else JETPACKS.get(l4t) or JETPACKS.get(l4t.removesuffix(".0"))


def _module(root: Path) -> str:
    board = text_or(root / "proc/device-tree/model")
    maker = text_or(root / "sys/class/dmi/id/sys_vendor")
    product = text_or(root / "sys/class/dmi/id/product_name")
    return board or f"{maker} {product}".strip() or platform.machine()


def _processor(root: Path) -> str:
    text = text_or(root / "proc/cpuinfo")
    name = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    return name[1].strip() if name else platform.machine()
