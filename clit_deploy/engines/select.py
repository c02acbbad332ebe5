"""Which runtime a plan runs on: the one that was named, or the best that is really there."""

from __future__ import annotations

import contextlib
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
    RuntimeUnavailableError,
    UnfitEngineError,
)
from clit_deploy.runtimes.cuda.cuda_api import open_cuda
from clit_deploy.runtimes.host_arrays import HostArrays
from clit_deploy.runtimes.ort.ort_runtime import open_runtime
from clit_deploy.runtimes.trt.engine_builder import BuildOptions
from clit_deploy.runtimes.trt.tensorrt_api import Flavour, load_tensorrt

if TYPE_CHECKING:
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.runtimes.cuda.cuda_api import Cuda
    from clit_deploy.runtimes.protocols import Runtime
    from clit_deploy.runtimes.trt.tensorrt_api import TensorRT

log = logging.getLogger(__name__)

UNUSABLE = (RuntimeUnavailableError, BuildError, EngineError, GraphRunError, MemoryBudgetError)
"""What keeps a device from being used, where another one will do."""


def choose_runtime(
    plan: Plan, name: str = "auto", *, threads: int | None = None, rebuild: bool = True
) -> tuple[Plan, Runtime]:
    """Open a runtime for a plan.

    Args:
        plan: its engines decide whether TensorRT can run it.
        name: see `RuntimeName`. `auto` takes engines that are in the plan and fit this machine,
            else ONNX Runtime on CUDA, else the CPU; why, it logs. Engines of the plan that do not
            fit are rebuilt like those of a runtime that was named; if they cannot be, ONNX Runtime
            is used.
        threads: of the CPU.
        rebuild: build engines where those of the plan are missing or for something else.

    Returns: the plan, with new engines where they had to be built, and the runtime.

    Raises:
        OptionError: there is no runtime of that name.
        RuntimeUnavailableError: what was named is not there.
        EngineError: engines do not fit and may not be rebuilt, or compute something else.
        BuildError: they cannot be rebuilt.
    """
    kind = member(RuntimeName, name, "runtime")
    if kind in (RuntimeName.TENSORRT, RuntimeName.TENSORRT_RTX):
        return _named(plan, Flavour(kind.value), rebuild=rebuild)
    if kind is RuntimeName.AUTO and (found := _automatic(plan, rebuild=rebuild)):
        return found
    runtime = open_runtime(kind, threads)
    halved = plan.manifest.precision in (Precision.FP16, Precision.INT8_FP16)
    if halved and isinstance(runtime.arrays, HostArrays):
        log.warning("an FP16 plan is slower than an FP32 plan on a processor, which widens it")
    return plan, runtime


def _named(plan: Plan, flavour: Flavour, *, rebuild: bool) -> tuple[Plan, Runtime]:
    try:
        return _on_engines(plan, flavour, rebuild=rebuild)
    except RuntimeUnavailableError as error:
        raise RuntimeUnavailableError(
            f"The runtime {flavour.value} was asked for, but what starts here is "
            f"{', '.join(_others(flavour))}. {error}"
        ) from error


def _others(asked: Flavour) -> list[str]:
    """The runtimes that start on this machine instead."""
    found = []
    for name in (RuntimeName.CPU, RuntimeName.CUDA):
        with contextlib.suppress(*UNUSABLE):
            open_runtime(name).close()
            found.append(name.value)
    (flavour,) = set(Flavour) - {asked}
    with contextlib.suppress(*UNUSABLE):
        load_tensorrt(flavour)
        open_cuda()
        found.append(flavour.value)
    return found


def _automatic(plan: Plan, *, rebuild: bool) -> tuple[Plan, Runtime] | None:
    """The engines that fit, before those that would have to be built again; None where there are
    none of either kind, and why, it logs."""
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
        log.info("%s has no engines; 'clit-deploy build' makes them", plan.name)
    for flavour, reason in reasons.items():
        log.warning("ONNX Runtime is used, not %s: %s", flavour.value, reason)
    return None


def _on_engines(plan: Plan, flavour: Flavour, *, rebuild: bool) -> tuple[Plan, Runtime]:
    """Engines of the plan at work, or ones that are built now."""
    trt, cuda = load_tensorrt(flavour), open_cuda()
    try:
        return plan, _fitting(plan, trt, cuda)
    except UnfitEngineError as error:
        if not rebuild:
            repair = f"clit-deploy build --runtime {flavour.value} {plan.path or 'PLAN'}"
            raise UnfitEngineError(f"{error}. Build engines for this one: {repair}") from error
        log.warning("%s; engines are built now, which takes a while", error)
    plan = _rebuilt(plan, trt, cuda)
    return plan, _fitting(plan, trt, cuda)


def _fitting(plan: Plan, trt: TensorRT, cuda: Cuda) -> Runtime:
    """The newest engines that are for this library and GPU.

    Raises:
        UnfitEngineError: there are none; with what is wrong with those that there are.
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
    """The plan with engines for here, as large as those that it has."""
    same = [x for x in plan.manifest.engines if x.flavour == trt.flavour.value]
    limits = EngineLimits(same[-1].tile, same[-1].block, same[-1].times) if same else EngineLimits()
    targets = (cuda.gpu.capability,) if trt.is_rtx else ()
    options = BuildOptions(targets, same[-1].workspace if same else None)
    return build_for_this_run(plan, BuildJob(trt, options, limits, cuda))
