"""The plugin `onnxruntime-ep-webgpu`: registered once, and tried in another process before that."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import json
import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import onnxruntime as ort
from packaging.version import Version

from clit_deploy.errors import RuntimeUnavailableError, printable
from clit_deploy.runtimes.webgpu.adapters import ALLOW_SOFTWARE, adapters
from clit_deploy.system.cache import Store
from clit_deploy.system.extras import install_command
from clit_deploy.system.memory_cap import lift_cap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clit_deploy.runtimes.webgpu.adapters import Adapter

log = logging.getLogger(__name__)

PACKAGE, MODULE = "onnxruntime-ep-webgpu", "onnxruntime_ep_webgpu"
NAME = "WebGpuExecutionProvider"
OLDEST_ORT = "1.24.4"
"""The oldest ONNX Runtime that the plugin accepts."""

PROBE = "clit_deploy.runtimes.webgpu.probe"
PROBE_SECONDS = 120
"""A driver that compiles two shaders for longer than this is of no use."""


@dataclass(frozen=True)
class Abilities:
    """What an adapter did when it was tried."""

    fp16: bool
    """Whether its shaders compute in FP16."""


def check_installed() -> str:
    """The plugin's version.

    Raises:
        RuntimeUnavailableError: it is missing, or ONNX Runtime is too old for it.
    """
    try:
        version = importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError as error:
        raise RuntimeUnavailableError(
            f"WebGPU needs the package {PACKAGE}, which is not installed. Install it with "
            f"{install_command('webgpu')}."
        ) from error
    if Version(ort.__version__) < Version(OLDEST_ORT):
        raise RuntimeUnavailableError(
            f"{PACKAGE} {version} needs ONNX Runtime {OLDEST_ORT} or newer, and {ort.__version__} "
            f"is installed. Install it with pip install -U 'onnxruntime>={OLDEST_ORT}'."
        )
    return version


def found_adapters() -> list[Adapter]:
    """All adapters of this machine, also without the plugin; see `adapters`.

    Raises:
        RuntimeUnavailableError: there is no Vulkan loader on Linux.
    """
    return adapters(_reported())


def _reported() -> list[str]:
    """GPUs that ONNX Runtime reports, by name; 1.24 and newer."""
    if sys.platform == "linux" or not hasattr(ort, "get_ep_devices"):
        return []
    gpus: dict[str, None] = {}
    for device in (one.device for one in ort.get_ep_devices()):
        if device.type == ort.OrtHardwareDeviceType.GPU:
            name = device.metadata.get("Description") or f"{device.vendor} {device.device_id:#x}"
            gpus[printable(name, 100)] = None
    return list(gpus)


@contextlib.contextmanager
def _any_adapter() -> Iterator[None]:
    """Let the plugin offer a device on Linux also where ONNX Runtime finds no GPU, as in many
    containers. `choose_adapter` has refused software adapters before."""
    before = os.environ.get(ALLOW_SOFTWARE)
    if sys.platform == "linux":
        ort.set_default_logger_severity(3)  # it warns of that switch
        os.environ[ALLOW_SOFTWARE] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(ALLOW_SOFTWARE, None)
        else:
            os.environ[ALLOW_SOFTWARE] = before


@functools.cache
def registered() -> Any:
    """Register the plugin with ONNX Runtime, once for the process.

    Returns: its device, for `SessionOptions.add_provider_for_devices`.

    Raises:
        RuntimeUnavailableError: the plugin is missing or cannot be registered.
    """
    check_installed()
    lift_cap()  # a GPU driver reserves memory of the process for its own purposes
    try:
        library = importlib.import_module(MODULE).get_library_path()
        with _any_adapter():
            ort.register_execution_provider_library("webgpu", library)
        return next(one for one in ort.get_ep_devices() if one.ep_name == NAME)
    except StopIteration:
        raise RuntimeUnavailableError(
            "The WebGPU plugin offers no device; update the GPU's driver, or use --runtime cpu."
        ) from None
    except Exception as error:
        raise RuntimeUnavailableError(
            f"The WebGPU plugin cannot be registered ({printable(error, 200)}); install it "
            f"again with {install_command('webgpu')}."
        ) from error


def provider_options(preference: str | None) -> dict[str, str]:
    """Options of sessions on the adapter that this preference leads to."""
    return {"enableInt64": "1", **({"powerPreference": preference} if preference else {})}


def tried(adapter: Adapter) -> Abilities:
    """Run two tiny graphs on an adapter in a process of its own, which a driver may crash. What
    worked once is remembered for this version and driver.

    Raises:
        RuntimeUnavailableError: the plugin or the driver fails.
    """
    version = check_installed()
    lift_cap()  # the other process inherits it
    store = Store(f"webgpu-{version}-{ort.__version__}-{adapter.name}-{adapter.driver}")
    known = store.read()
    if not known:
        known = _probed(adapter)
        store.write(known)
    return Abilities(bool(json.loads(known)["fp16"]))


def _probed(adapter: Adapter) -> bytes:
    command = [sys.executable, "-m", PROBE, adapter.preference or ""]
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, timeout=PROBE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeUnavailableError(
            f"The WebGPU adapter {adapter.name} could not be tried ({type(error).__name__}); use "
            "--runtime cpu."
        ) from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        why = f"signal {-done.returncode}" if done.returncode < 0 else (lines or ["no reason"])[-1]
        raise RuntimeUnavailableError(
            f"The WebGPU plugin fails on {adapter.name} ({printable(why, 200)}); update the "
            "driver, or use --runtime cpu."
        )
    return done.stdout.strip().splitlines()[-1]
