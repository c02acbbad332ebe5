"""The machine and its software: read from files, never changed."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

from clit_deploy._version import __version__
from clit_deploy.errors import printable
from clit_deploy.profile.profile_file import Machine
from clit_deploy.profile.reasons import reasons
from clit_deploy.profile.sensors.nvml import DRIVER
from clit_deploy.profile.sensors.sensor import name_in
from clit_deploy.system.jetson import jetson
from clit_deploy.system.proc_files import kilobytes, text_or

if TYPE_CHECKING:
    from pathlib import Path

QUERY = ["nvpmodel", "-q"]

LIBRARIES = (
    *("numpy", "onnxruntime", "onnxruntime-gpu", "onnxruntime-ep-webgpu", "cuda-bindings"),
    *("tensorrt", "tensorrt-cu12", "tensorrt-cu13", "tensorrt-rtx", "tensorrt-rtx-cu13"),
)


def machine(root: Path) -> Machine:
    """Describe the machine; what cannot be read is None, with its reason."""
    board = jetson(root)
    l4t = board.l4t if board else None
    special = {
        "jetpack": f"L4T {l4t} is not in our table, and nvidia-jetpack is not installed",
        "power_mode": "neither nvpmodel nor its files show it",
    }
    found = Machine(
        module=_module(root),
        os=_match(r'^PRETTY_NAME="?([^"\n]+)', text_or(root / "etc/os-release"))
        or platform.platform(terse=True),
        cpu=_match(r"^(?:model name|Model)\s*:\s*(.+)$", text_or(root / "proc/cpuinfo"))
        or platform.machine(),
        cpus=os.cpu_count() or 1,
        memory_bytes=kilobytes(root / "proc/meminfo", "MemTotal"),
        l4t=l4t,
        jetpack=board.jetpack if board and l4t else None,
        power_mode=power_mode(root),
        driver=_match(r"^NVRM version:.*?\s(\d+(?:\.\d+)+)\s", text_or(root / DRIVER) + "\n"),
        kernel=platform.release(),
        versions=versions(),
        unavailable={},
    )
    return replace(found, unavailable=reasons(found, special if l4t else {}))


def power_mode(root: Path) -> str | None:
    """The name of a Jetson's power mode, from nvpmodel's own files, else from nvpmodel."""
    number = _match(r"pmode:\s*0*(\d+)", text_or(root / "var/lib/nvpmodel/status"))
    if number:
        modes = text_or(root / "etc/nvpmodel.conf")
        return _match(rf"POWER_MODEL\s+ID={number}\s+NAME=(\S+)", modes) or f"mode {number}"
    if str(root) != "/" or shutil.which("nvpmodel") is None:
        return None
    try:
        reported = subprocess.run(QUERY, capture_output=True, text=True, timeout=5, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return _match(r"NV Power Mode:\s*(\S+)", reported.stdout)


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide a run, without importing them."""
    found = {"clit-deploy": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _module(root: Path) -> str:
    board = name_in(root / "proc/device-tree/model")
    maker = name_in(root / "sys/class/dmi/id/sys_vendor")
    product = name_in(root / "sys/class/dmi/id/product_name")
    return board or f"{maker} {product}".strip() or platform.machine()


def _match(pattern: str, text: str) -> str | None:
    """The pattern's group in a text, safe to print."""
    found = re.search(pattern, text, re.MULTILINE)
    return printable(found[1], 200) if found else None
