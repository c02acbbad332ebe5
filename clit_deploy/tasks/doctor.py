"""What this machine has to run plans with, and how to repair what is missing or broken."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import platform
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnxruntime as ort

from clit_deploy.config import show_bytes
from clit_deploy.errors import ClitDeployError
from clit_deploy.plan.plan_file import Plan
from clit_deploy.quality.parity import compare_samples, stored_samples
from clit_deploy.runtimes.cuda.cuda_api import open_cuda
from clit_deploy.runtimes.ort.ort_runtime import open_runtime
from clit_deploy.runtimes.ort.sessions import CUDA, usable_cpus
from clit_deploy.runtimes.trt.tensorrt_api import Flavour, load_tensorrt, newer_release
from clit_deploy.runtimes.webgpu.plugin import check_installed, found_adapters, tried
from clit_deploy.system import memory
from clit_deploy.system.cache import folder
from clit_deploy.system.extras import install_command
from clit_deploy.system.gpu_nodes import check_nvidia_driver
from clit_deploy.system.jetson import jetson
from clit_deploy.zoo.named_models import default_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from clit_deploy.runtimes.webgpu.adapters import Adapter

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    name: str
    found: str
    state: str
    """`good`, `absent` (not needed) or `fault`."""
    repair: str | None = None


def examine() -> list[Finding]:
    """Run all checks. They change nothing and take some seconds."""
    checks: list[Callable[[], Finding]] = [
        _python,
        _onnxruntime,
        _jetson,
        _device,
        lambda: _tensorrt(Flavour.TENSORRT),
        lambda: _tensorrt(Flavour.RTX),
        _webgpu,
        _memory,
        _cache,
        _numbers,
        _advice,
    ]
    return [_safely(check) for check in checks]


def _safely(check: Callable[[], Finding]) -> Finding:
    """An error inside a check is a fault, too."""
    try:
        return check()
    except Exception as error:
        log.debug("a check failed", exc_info=True)
        found = f"{type(error).__name__}: {error}"
        return Finding("A check", found, "fault", "reinstall what the message names")


def _python() -> Finding:
    version = platform.python_version()
    where = f"{version}, {platform.system()} {platform.machine()}"
    if sys.prefix != sys.base_prefix:
        where += ", in a virtual environment"
    return Finding("Python", where, "good")


def _onnxruntime() -> Finding:
    offered = ort.get_available_providers()
    found = f"{ort.__version__}, {', '.join(offered)}"
    both = [name for name in ("onnxruntime", "onnxruntime-gpu") if _installed(name)]
    if len(both) == 2:
        return Finding(
            "ONNX Runtime",
            f"{found}; onnxruntime and onnxruntime-gpu are both installed",
            "fault",
            "pip uninstall onnxruntime onnxruntime-gpu, then install only one of them",
        )
    if CUDA in offered:
        try:
            open_runtime("cuda").close()
        except ClitDeployError as error:
            return Finding("ONNX Runtime", found, "fault", str(error))
    return Finding("ONNX Runtime", found, "good")


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _jetson() -> Finding:
    board = jetson()
    if board is None:
        return Finding("Jetson", "not a Jetson", "absent")
    release = f"L4T {board.l4t or 'unknown'}, JetPack {board.jetpack or 'unknown'}"
    if board.jetpack == "5":
        return Finding(
            "Jetson",
            f"{board.model}, {release}",
            "fault",
            "JetPack 5 has TensorRT 8.5, which cannot run typed engines: use --runtime cpu, or "
            "install JetPack 6.1 or newer",
        )
    return Finding("Jetson", f"{board.model}, {release}", "good")


def _device() -> Finding:
    try:
        cuda = open_cuda()
        gpu, (free, total) = cuda.gpu, cuda.memory()
    except ClitDeployError as error:
        return Finding("GPU", "none usable", "absent", str(error))
    kind = "shared with the CPU" if gpu.integrated else "dedicated"
    return Finding(
        "GPU",
        f"{gpu.name}, compute capability {gpu.capability}, driver for CUDA {gpu.driver}, "
        f"{show_bytes(free)} of {show_bytes(total)} free ({kind})",
        "good",
    )


def _tensorrt(flavour: Flavour) -> Finding:
    name = "TensorRT-RTX" if flavour is Flavour.RTX else "TensorRT"
    try:
        trt = load_tensorrt(flavour)
    except ClitDeployError as error:
        fault = flavour is Flavour.TENSORRT and jetson() is not None
        return Finding(name, "not installed", "fault" if fault else "absent", _bottom(error))
    advice = None if trt.is_rtx else newer_release(trt.version, jetson())
    return Finding(name, trt.version, "good", advice and f"If 'build' refuses engines: {advice}")


def _webgpu() -> Finding:
    """Adapters with their numbers for `--device`; those of the plugin's choice are tried."""
    try:
        found = found_adapters()
    except ClitDeployError as error:
        return Finding("WebGPU", "no adapter", "absent", str(error))
    if not found:
        return Finding("WebGPU", "no adapter", "absent", "It needs a GPU and its Vulkan driver.")
    shown = "; ".join(f"{number}: {_adapter(one)}" for number, one in enumerate(found))
    installed = False
    try:
        check_installed()
        installed = True
        for adapter in found:
            if adapter.preference and adapter.is_gpu:
                tried(adapter)
    except ClitDeployError as error:
        if not any(adapter.is_gpu for adapter in found):
            return Finding("WebGPU", shown, "absent")
        return Finding("WebGPU", shown, "fault" if installed else "absent", str(error))
    return Finding("WebGPU", shown, "good")


def _adapter(adapter: Adapter) -> str:
    parts = [f"{adapter.name} ({adapter.kind})", f"driver {adapter.driver}"]
    if adapter.storage_bytes:
        parts.append(f"tensors to {show_bytes(adapter.storage_bytes)}")
    if adapter.is_gpu and adapter.preference:
        with contextlib.suppress(ClitDeployError):
            parts.append("FP16 works" if tried(adapter).fp16 else "no FP16")
    return ", ".join(parts)


def _advice() -> Finding:
    """What would make this machine faster."""
    nvidia = _works(check_nvidia_driver)
    if nvidia and _works(lambda: load_tensorrt(Flavour.TENSORRT)) and _works(open_cuda):
        text = "engines: 'clit-deploy build PLAN', then --runtime tensorrt"
    elif nvidia:
        text = f"TensorRT for the NVIDIA GPU: {install_command('tensorrt-cu13')}"
    elif any(adapter.is_gpu for adapter in _adapters_or_none()):
        installed = _works(check_installed)
        text = "--runtime webgpu" if installed else f"WebGPU: {install_command('webgpu')}"
    else:
        text = "a GPU, or more CPU cores; an INT8 plan ('clit-deploy calibrate') on this CPU"
    return Finding("Faster with", text, "good")


def _adapters_or_none() -> list[Adapter]:
    with contextlib.suppress(ClitDeployError):
        return found_adapters()
    return []


def _works(check: Callable[[], object]) -> bool:
    try:
        check()
    except ClitDeployError:
        return False
    return True


def _bottom(error: ClitDeployError) -> str:
    """A repair that installs packages, or what is missing below them."""
    try:
        check_nvidia_driver()
    except ClitDeployError:
        return "It needs an NVIDIA GPU and its driver first."
    return str(error)


def _memory() -> Finding:
    free = memory.available()
    known = "unknown" if free is None else f"{show_bytes(free)} free"
    return Finding("Memory", f"{known}, {usable_cpus()} CPUs", "good")


def _cache() -> Finding:
    path = folder()
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / ".writable").touch()
        (path / ".writable").unlink()
    except OSError as error:
        return Finding(
            "Cache", f"{path}: {error.strerror}", "fault", "set CLIT_DEPLOY_CACHE to another folder"
        )
    return Finding("Cache", str(path), "good")


def _numbers() -> Finding:
    """The default model's parity check, repeated: does this machine compute the right numbers?"""
    start = time.monotonic()
    plan = Plan.open(default_model().plan)
    try:
        sample = stored_samples(plan)[:1]
        tolerance = plan.manifest.proof.tolerance if plan.manifest.proof else 0.0
        name, (case,) = compare_samples(plan, sample, tolerance)
    except ClitDeployError as error:
        return Finding("Numbers", "wrong", "fault", f"{error} Reinstall onnxruntime.")
    took = time.monotonic() - start
    found = f"{name}: relative error {case.relative_error:.1e}, in {took:.1f} s"
    return Finding("Numbers", found, "good")
