"""Chooses between the INT8 and the FP16 form of a graph by timing the engines of both.

INT8 is faster where convolutions take the time. Where attention does, converting the numbers can
cost more than the products gain, and only the device knows.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.engines.build import with_engines
from clit_deploy.runtimes.trt.engine_runtime import EngineRuntime

if TYPE_CHECKING:
    from collections.abc import Callable

    from clit_deploy.plan.manifest import Engine, EngineSet
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.runtimes.cuda.cuda_api import Cuda
    from clit_deploy.runtimes.trt.tensorrt_api import TensorRT

log = logging.getLogger(__name__)

WARM_UPS, RUNS = 3, 20
"""Runs of each engine before and while it is timed."""


def in_float_form(plan: Plan, graphs: set[str]) -> Plan:
    """The plan with the FP16 form of some graphs in the place of their INT8 form."""
    forms = plan.manifest.float_forms
    return plan.replaced({graph: plan.read(forms[graph]) for graph in graphs})


def as_built(plan: Plan, engines: EngineSet) -> Plan:
    """The plan with every graph in the form that its engine was built from."""
    return in_float_form(plan, {x.graph for x in engines.engines if x.source})


def keep_faster(plan: Plan, trt: TensorRT, cuda: Cuda, build: Callable[[Plan], Plan]) -> Plan:
    """Build the FP16 form of each graph that has both, and keep the faster of the two engines.

    Args:
        plan: its newest engines are of the INT8 forms.
        trt: the library that built them.
        cuda: the device that they are for.
        build: builds engines of the graphs with two forms.

    Returns: the plan in memory; its newest engines say which of them are of the other form.

    Raises:
        BuildError, EngineError, DeviceMemoryError: an engine cannot be built or run.
    """
    forms = plan.manifest.float_forms
    other = build(in_float_form(plan, set(forms)))
    newest, floats = plan.manifest.engines[-1], other.manifest.engines[-1]
    times, float_times = (
        milliseconds(plan, newest, trt, cuda),
        milliseconds(other, floats, trt, cuda),
    )
    chosen, members = [], {}
    by_graph = {engine.graph: engine for engine in floats.engines}
    for engine in newest.engines:
        graph, found, source = engine.graph, engine, plan
        if graph in forms:
            log.info("%s: INT8 %.3f ms, FP16 %.3f ms", graph, times[graph], float_times[graph])
            if float_times[graph] < times[graph]:
                found, source = dataclasses.replace(by_graph[graph], source=forms[graph]), other
        chosen.append(found)
        members[found.member] = source.read(found.member)
    return with_engines(plan, dataclasses.replace(newest, engines=tuple(chosen)), members)


def milliseconds(plan: Plan, engines: EngineSet, trt: TensorRT, cuda: Cuda) -> dict[str, float]:
    """Device time of a run of each engine for the usual shapes of its first profile."""
    runtime = EngineRuntime(trt, engines, cuda)
    runtime.kernels.eager = True
    try:
        runtime.load(plan)
        for engine in engines.engines:
            _run(runtime, plan, engine, WARM_UPS)
        runtime.start_device_times()
        for engine in engines.engines:
            _run(runtime, plan, engine, RUNS)
        return {time.member: time.compute_ms / time.runs for time in runtime.device_times()}
    finally:
        runtime.close()


def _run(runtime: EngineRuntime, plan: Plan, engine: Engine, times: int) -> None:
    runner = runtime.runner(plan, engine.graph, parallel=True)
    feeds = {name: np.zeros(shapes[1], np.float32) for name, shapes in engine.profiles[0].items()}
    for _ in range(times):
        runner.run(feeds)
