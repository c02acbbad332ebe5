"""Which runtime a plan runs on: the one that was named, or the best that is really there."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from clit_deploy.config import Precision, RuntimeName
from clit_deploy.engines.build import Limits, build_engines, differences
from clit_deploy.engines.keep import build_into, compared, trusted
from clit_deploy.errors import (
    BuildError,
    EngineError,
    GraphRunError,
    MemoryBudgetError,
    OutputError,
    RuntimeUnavailableError,
)
from clit_deploy.runtimes.build import BuildOptions
from clit_deploy.runtimes.cuda import open_cuda
from clit_deploy.runtimes.host import HostArrays
from clit_deploy.runtimes.ort import open_runtime
from clit_deploy.runtimes.trt import Flavour, load_tensorrt

if TYPE_CHECKING:
    from clit_deploy.bundle import Plan
    from clit_deploy.manifest import EngineSet
    from clit_deploy.runtimes.base import Runtime
    from clit_deploy.runtimes.cuda import Cuda
    from clit_deploy.runtimes.trt import TensorRT

log = logging.getLogger(__name__)


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
        RuntimeUnavailableError: what was named is unknown or not there.
        EngineError: engines do not fit and may not be rebuilt, or compute something else.
        BuildError: they cannot be rebuilt.
    """
    flavours = [flavour for flavour in Flavour if name in (RuntimeName.AUTO.value, flavour.value)]
    if len(flavours) > 1:  # what fits goes before what would have to be built again
        flavours.sort(key=lambda flavour: not _fits(plan, flavour))
    for flavour in flavours:
        try:
            return _on_engines(plan, flavour, rebuild=rebuild, named=name == flavour.value)
        except (
            RuntimeUnavailableError,
            BuildError,
            EngineError,
            GraphRunError,
            MemoryBudgetError,
        ) as error:
            if name == flavour.value:
                raise
            built = any(x.flavour == flavour.value for x in plan.manifest.engines)
            level = logging.WARNING if built else logging.INFO
            log.log(level, "ONNX Runtime is used, not %s: %s", flavour.value, error)
    runtime = open_runtime(name, threads)
    halved = plan.manifest.precision in (Precision.FP16.value, Precision.INT8_FP16.value)
    if halved and isinstance(runtime.arrays, HostArrays):
        log.warning("an FP16 plan is slower than an FP32 plan on a processor, which widens it")
    return plan, runtime


def _on_engines(
    plan: Plan, flavour: Flavour, *, rebuild: bool, named: bool
) -> tuple[Plan, Runtime]:
    if not named and not any(x.flavour == flavour.value for x in plan.manifest.engines):
        raise RuntimeUnavailableError(
            f"{plan.name} has no engines for it; 'clit-deploy build' makes them."
        )
    trt, cuda = load_tensorrt(flavour), open_cuda()
    engines, why = _fitting(plan, trt, cuda)
    if engines is None:
        repair = f"clit-deploy build --runtime {flavour.value} {plan.path or 'PLAN'}"
        if not rebuild:
            raise EngineError(f"{plan.name} has {why}. Build engines for this one: {repair}")
        log.warning("%s has %s; engines are built now, which takes a while", plan.name, why)
        plan = _rebuilt(plan, trt, cuda)
        engines, why = _fitting(plan, trt, cuda)
        if engines is None:
            raise EngineError(f"The new engines do not fit either: {why}.")
    return plan, trusted(plan, trt, engines, cuda)


def _fits(plan: Plan, flavour: Flavour) -> bool:
    if not any(x.flavour == flavour.value for x in plan.manifest.engines):
        return False
    try:
        return _fitting(plan, load_tensorrt(flavour), open_cuda())[0] is not None
    except RuntimeUnavailableError:
        return False


def _fitting(plan: Plan, trt: TensorRT, cuda: Cuda) -> tuple[EngineSet | None, str]:
    """The engines for this library and GPU, or what is wrong with those that there are."""
    reasons = []
    for engines in plan.manifest.engines:
        if engines.flavour == trt.flavour.value:
            wrong = differences(plan, engines, trt.version, cuda.gpu)
            if not wrong:
                return engines, ""
            reasons.append(f"engines of {engines.title}, but {' and '.join(wrong)}")
    return None, "; ".join(reasons) or f"no engines of {trt.title}"


def _rebuilt(plan: Plan, trt: TensorRT, cuda: Cuda) -> Plan:
    """The plan with engines for here; its file gets them too, where it can be written."""
    same = [x for x in plan.manifest.engines if x.flavour == trt.flavour.value]
    limits = Limits(same[-1].tile, same[-1].block, same[-1].times) if same else Limits()
    targets = (cuda.gpu.capability,) if trt.is_rtx else ()
    options = BuildOptions(targets, same[-1].workspace if same else None)
    try:
        return build_into(plan, trt, options, limits, cuda)
    except OutputError as error:
        log.warning("the new engines are not kept: %s", error.strerror)
        made, _ = build_engines(plan, trt, options, limits=limits, gpu=cuda.gpu)
        return compared(made, trt, cuda)
