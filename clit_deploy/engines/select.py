"""Selects the runtime of a plan: the requested one, or the best one that works."""

from __future__ import annotations

import contextlib
import functools
import logging
from typing import TYPE_CHECKING

from clit_deploy.config import Precision, RuntimeName, member
from clit_deploy.engines.build import EngineLimits, differences
from clit_deploy.engines.store import BuildJob, build_for_this_run, open_verified
from clit_deploy.errors import (
    BuildError,
    ClitDeployError,
    EngineError,
    GraphRunError,
    MemoryBudgetError,
    OptionError,
    RuntimeUnavailableError,
    UnfitEngineError,
)
from clit_deploy.runtimes.cuda.cuda_api import open_cuda
from clit_deploy.runtimes.host_arrays import HostArrays
from clit_deploy.runtimes.ort.ort_runtime import open_runtime
from clit_deploy.runtimes.trt.engine_builder import BuildOptions
from clit_deploy.runtimes.trt.tensorrt_api import Flavour, load_tensorrt
from clit_deploy.runtimes.webgpu.plugin import check_installed
from clit_deploy.runtimes.webgpu.webgpu_runtime import open_webgpu

if TYPE_CHECKING:
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.runtimes.cuda.cuda_api import Cuda
    from clit_deploy.runtimes.protocols import Runtime
    from clit_deploy.runtimes.trt.tensorrt_api import TensorRT

log = logging.getLogger(__name__)

UNUSABLE = (RuntimeUnavailableError, BuildError, EngineError, GraphRunError, MemoryBudgetError)
"""Errors after which `auto` falls back to another device."""


def choose_runtime(
    plan: Plan,
    name: str = "auto",
    *,
    threads: int | None = None,
    rebuild: bool = True,
    device: str | None = None,
) -> tuple[Plan, Runtime]:
    """Open a runtime for a plan.

    Args:
        plan: its engines decide whether TensorRT can run it.
        name: see `RuntimeName`. `auto` uses the plan's engines if they fit this machine, otherwise
            ONNX Runtime on CUDA, otherwise WebGPU on a GPU, otherwise the CPU, and logs the
            fallback reason. Engines that do not fit are rebuilt first.
        threads: CPU threads; None uses all cores.
        rebuild: build engines that are missing or were built for another device.
        device: number or part of the name of a WebGPU adapter, which `auto` then uses.

    Returns: the plan, with new engines if they had to be built, and the runtime.

    Raises:
        OptionError: the name or the device is unknown, or the runtime has no such device.
        RuntimeUnavailableError: the requested runtime is not installed or does not start.
        EngineError: the engines do not fit and must not be rebuilt, or compute wrong results.
        BuildError: they cannot be rebuilt.
    """
    kind = member(RuntimeName, name, "runtime")
    if device is not None and kind not in (RuntimeName.AUTO, RuntimeName.WEBGPU):
        raise OptionError(
            f"--device selects an adapter of WebGPU, not of {kind.value}; CUDA_VISIBLE_DEVICES "
            "selects the GPU of cuda and tensorrt."
        )
    if kind is RuntimeName.WEBGPU or device is not None:
        return plan, open_webgpu(plan, device)
    if kind in (RuntimeName.TENSORRT, RuntimeName.TENSORRT_RTX):
        return _named(plan, Flavour(kind.value), rebuild=rebuild)
    if kind is RuntimeName.AUTO and (found := _automatic(plan, rebuild=rebuild)):
        return found
    runtime = open_runtime(kind, threads)
    if kind is RuntimeName.AUTO and not runtime.on_device and (other := _webgpu(plan)):
        runtime.close()
        runtime = other
    half = plan.manifest.precision in (Precision.FP16, Precision.INT8_FP16)
    if half and not runtime.on_device and isinstance(runtime.arrays, HostArrays):
        log.warning("an FP16 plan is slower than an FP32 plan on a CPU, which computes in FP32")
    return plan, runtime


def _named(plan: Plan, flavour: Flavour, *, rebuild: bool) -> tuple[Plan, Runtime]:
    try:
        return _on_engines(plan, flavour, rebuild=rebuild)
    except RuntimeUnavailableError as error:
        raise RuntimeUnavailableError(
            f"The runtime {flavour.value} is not available; available are "
            f"{', '.join(_others(flavour))}. {error}"
        ) from error


def _others(requested: Flavour) -> list[str]:
    """The other runtimes that start on this machine."""
    found = []
    for name in (RuntimeName.CPU, RuntimeName.CUDA):
        with contextlib.suppress(*UNUSABLE):
            open_runtime(name).close()
            found.append(name.value)
    (flavour,) = set(Flavour) - {requested}
    with contextlib.suppress(*UNUSABLE):
        load_tensorrt(flavour)
        open_cuda()
        found.append(flavour.value)
    return found


def _automatic(plan: Plan, *, rebuild: bool) -> tuple[Plan, Runtime] | None:
    """Engines that fit, before engines that must be rebuilt; None if neither works, with the
    reasons in the log."""
    kinds = {engines.flavour for engines in plan.manifest.engines}
    flavours = [flavour for flavour in Flavour if flavour.value in kinds]
    reasons: dict[Flavour, ClitDeployError] = {}
    for flavour, again in [(f, False) for f in flavours] + [(f, True) for f in flavours] * rebuild:
        if again and not isinstance(reasons[flavour], UnfitEngineError):
            continue
        try:
            return _on_engines(plan, flavour, rebuild=again)
        except UNUSABLE as error:
            reasons[flavour] = error
    if not flavours:
        log.info("%s has no engines; 'clit-deploy build' builds them", plan.name)
    for flavour, reason in reasons.items():
        log.warning("ONNX Runtime is used instead of %s: %s", flavour.value, reason)
    return None


def _webgpu(plan: Plan) -> Runtime | None:
    """WebGPU on a GPU, never on a software adapter; None if its plugin is not installed, or with
    the reason in the log, once."""
    try:
        check_installed()
    except RuntimeUnavailableError as error:
        log.info("WebGPU is not used: %s", error)
        return None
    try:
        return open_webgpu(plan, software=False)
    except UNUSABLE as error:
        _warn_once(f"the CPU is used instead of WebGPU: {error}")
        return None


@functools.cache
def _warn_once(message: str) -> None:
    log.warning("%s", message)


def _on_engines(plan: Plan, flavour: Flavour, *, rebuild: bool) -> tuple[Plan, Runtime]:
    """Open engines of the plan, or build them now."""
    cuda, trt = open_cuda(), load_tensorrt(flavour)  # a missing driver is said first
    try:
        return plan, _fitting(plan, trt, cuda)
    except UnfitEngineError as error:
        if not rebuild:
            repair = f"clit-deploy build --runtime {flavour.value} {plan.path or 'PLAN'}"
            raise UnfitEngineError(f"{error}. Build engines for this machine: {repair}") from error
        log.warning("%s. Engines are built now, which takes a few minutes.", error)
    plan = _rebuilt(plan, trt, cuda)
    return plan, _fitting(plan, trt, cuda)


def _fitting(plan: Plan, trt: TensorRT, cuda: Cuda) -> Runtime:
    """Open the newest engines that were built for this library and GPU.

    Raises:
        UnfitEngineError: there are none; the message says why the plan's engines do not fit.
    """
    reasons = []
    for engines in reversed(plan.manifest.engines):
        if engines.flavour == trt.flavour.value:
            wrong = differences(plan, engines, trt.version, cuda.gpu)
            try:
                if not wrong:
                    return open_verified(plan, trt, engines, cuda)
            except UnfitEngineError as error:
                wrong = [str(error)]
            reasons.append(f"engines of {engines.title}, but {' and '.join(wrong)}")
    raise UnfitEngineError(f"{plan.name} has {'; '.join(reasons) or f'no engines of {trt.title}'}")


def _rebuilt(plan: Plan, trt: TensorRT, cuda: Cuda) -> Plan:
    """The plan with engines for this machine, with the limits of its other engines."""
    same = [x for x in plan.manifest.engines if x.flavour == trt.flavour.value]
    limits = EngineLimits(same[-1].tile, same[-1].block, same[-1].times) if same else EngineLimits()
    targets = (cuda.gpu.capability,) if trt.is_rtx else ()
    options = BuildOptions(targets, same[-1].workspace if same else None)
    return build_for_this_run(plan, BuildJob(trt, options, limits, cuda))
