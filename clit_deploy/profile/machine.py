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
from clit_deploy.system.jetson import jetson
from clit_deploy.system.proc_files import kilobytes, text_or

if TYPE_CHECKING:
    from pathlib import Path

MEMINFO = "proc/meminfo"

QUERY = ["nvpmodel", "-q"]

LIBRARIES = (
    *("clit-deploy", "numpy", "onnxruntime", "onnxruntime-gpu", "cuda-bindings"),
    *("tensorrt", "tensorrt-cu12", "tensorrt-cu13", "tensorrt-rtx", "tensorrt-rtx-cu13"),
)


def machine(root: Path) -> Machine:
    """Describe the machine; what is not to be known is None, with its reason."""
    reasons: dict[str, str] = {}
    board = jetson(root)
    l4t = board.l4t if board else None
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
        memory_bytes=kilobytes(root / MEMINFO, "MemTotal"),
        l4t=l4t,
        jetpack=board.jetpack if board and l4t else None,
        power_mode=mode,
        driver=driver[1] if driver else None,
        kernel=platform.release(),
        versions=versions(),
        reasons={},
    )
    found.reasons.update({k: why for k, why in reasons.items() if getattr(found, k) is None})
    return found


def swapped(root: Path) -> int | None:
    """Bytes of swap in use."""
    total, free = (kilobytes(root / MEMINFO, field) for field in ("SwapTotal", "SwapFree"))
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
        reported = subprocess.run(QUERY, capture_output=True, text=True, timeout=5, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    name = re.search(r"NV Power Mode:\s*(\S+)", reported.stdout)
    return name[1] if name else None


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide a run, without importing them."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _module(root: Path) -> str:
    board = text_or(root / "proc/device-tree/model")
    maker = text_or(root / "sys/class/dmi/id/sys_vendor")
    product = text_or(root / "sys/class/dmi/id/product_name")
    return board or f"{maker} {product}".strip() or platform.machine()


def _processor(root: Path) -> str:
    text = text_or(root / "proc/cpuinfo")
    name = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    return name[1].strip() if name else platform.machine()
