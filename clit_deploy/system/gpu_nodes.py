"""Whether this machine has an NVIDIA driver and a GPU for it, before anything is imported for it.

What is missing at the bottom is said first: no package helps where there is no driver.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

from clit_deploy.errors import RuntimeUnavailableError

NVIDIA_NODES = tuple(map(Path, ("/dev/nvidiactl", "/dev/nvmap", "/dev/nvgpu", "/dev/dxg")))
"""Device files of NVIDIA's drivers: desktop, Jetson, Windows' subsystem for Linux."""

NODE = "/dev/nvidiactl, on a Jetson /dev/nvmap"

DRIVERS = {"linux": "libcuda.so.1", "win32": "nvcuda.dll"}
"""The library of the driver, by platform."""


def has_nvidia_node() -> bool:
    """Whether a driver offers a GPU to this process; Linux only."""
    return any(node.exists() for node in NVIDIA_NODES)


def check_nvidia_driver() -> None:
    """Refuse a machine where nothing can use CUDA.

    Raises:
        RuntimeUnavailableError: there is no driver, or no GPU for it.
    """
    library = DRIVERS.get(sys.platform)
    if library is None:
        raise RuntimeUnavailableError(
            "CUDA and TensorRT run on Linux and Windows only; use --runtime cpu."
        )
    installed = _loads(library)
    if sys.platform == "linux" and not has_nvidia_node():
        raise RuntimeUnavailableError(
            f"There is an NVIDIA driver ({library}), but no device file ({NODE}). Load its kernel "
            "module, or give the container the GPU (docker run --gpus all)."
            if installed
            else f"There is no NVIDIA driver and no NVIDIA GPU on this machine: neither {library} "
            f"nor a device file ({NODE}). Install the driver, or use --runtime cpu."
        )
    if not installed:
        raise RuntimeUnavailableError(
            f"The NVIDIA driver is missing: {library} cannot be loaded. Install the driver, or use "
            "--runtime cpu."
        )


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
