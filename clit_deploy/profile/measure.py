"""Measure one case: open the plan, run once, warm up, measure steady runs, then quality."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clit_deploy.config import show_bytes
from clit_deploy.engines.select import choose_runtime
from clit_deploy.errors import MemoryBudgetError
from clit_deploy.plan.plan_file import Plan
from clit_deploy.profile.reasons import attempt
from clit_deploy.profile.records import Loading
from clit_deploy.profile.runs import FileJob, Runs
from clit_deploy.profile.sampler import Sampler
from clit_deploy.render.layout import Layout
from clit_deploy.runtimes.protocols import DeviceMeter
from clit_deploy.runtimes.wrappers import TracedRuntime
from clit_deploy.system import memory
from clit_deploy.upscaler import Upscaler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from clit_deploy.profile.records import Quality
    from clit_deploy.profile.reference import Reference
    from clit_deploy.profile.sensors import SensorSet
    from clit_deploy.profile.sweep import Case
    from clit_deploy.render.layout import Job
    from clit_deploy.runtimes.protocols import Runtime
    from clit_deploy.tasks.upscale_file import UpscaleResult

WARM_UP_RUNS = 2
"""After the first run; memory and caches settle in them."""
WARM_UP_SECONDS = 0.2


@dataclass(frozen=True)
class MeasureWindow:
    """How long to measure: until both are reached."""

    seconds: float
    runs: int

    def done(self, seconds: float, runs: int) -> float:
        """The fraction that is done, 0 to 1."""
        return min(runs / self.runs, seconds / self.seconds if self.seconds else 1.0, 1.0)


@dataclass(frozen=True)
class ProfileContext:
    """What all cases of a profile share."""

    source: Path
    target: Path
    found: SensorSet
    idle: dict[str, float]
    window: MeasureWindow
    max_memory: str | None
    reference: Reference


@dataclass(frozen=True)
class Measured:
    """What one case gave."""

    plan: Plan
    runtime: str
    loading: Loading
    runs: Runs
    steady: Sampler
    result: UpscaleResult
    peak: tuple[int, int]
    """The most bytes that the process had held before the case, and by the end of its runs."""
    on_device: bool
    device_bytes: dict[str, int] | None
    """None where the runtime offers neither memory nor times of its device."""
    quality: Quality | None
    load_before: float | None
    special: dict[str, str]
    """Reasons for missing figures that are not the usual ones."""


@contextlib.contextmanager
def opened(
    case: Case, max_memory: str | None, wrap: Callable[[Runtime], Runtime] = lambda same: same
) -> Iterator[Upscaler]:
    """A case's plan on its runtime, which `wrap` may wrap. Engines that do not fit are not built
    again: that would change the plan, and count as opening it."""
    plan, runtime = choose_runtime(
        Plan.open(case.plan),
        case.runtime,
        threads=case.threads,
        rebuild=False,
        device=case.device,
    )
    try:
        up = Upscaler(plan, runtime=wrap(runtime), threads=case.threads, max_memory=max_memory)
    except BaseException:
        runtime.close()
        raise
    with up:
        yield up


def lay_out(up: Upscaler, case: Case, job: Job) -> Layout | None:
    """The layout that the case requests, or None; loads the graphs of the stages.

    Raises:
        MemoryBudgetError: it does not fit into the memory allowed.
    """
    chosen = up.renderer.prepare(job).forecast.layout
    if not (case.tile or case.block):
        return None
    layout = Layout(case.tile or chosen.tile, case.block or chosen.block)
    peak = up.renderer.prepare(job, layout=layout).forecast.peak
    if up.max_memory is not None and peak > up.max_memory:
        raise MemoryBudgetError(
            f"Tiles of {layout.tile} and blocks of {layout.block} need {show_bytes(peak)}, more "
            "than --max-memory allows; sweep smaller ones."
        )
    return layout


def measure(context: ProfileContext, case: Case, progress: Callable[[float], None]) -> Measured:
    """Measure a case; `progress` is called with the fraction that is done."""
    memory.restart_peak()  # or rows would include the peaks of those before them
    before, load, start = memory.peak(), _load_average(), time.perf_counter()
    special: dict[str, str] = {}
    with opened(case, context.max_memory, TracedRuntime) as up:
        whole = up.renderer.job(context.reference.image, scale=case.scale)
        layout = lay_out(up, case, whole)
        traced = up.runtime
        assert isinstance(traced, TracedRuntime)  # noqa: S101  (it was just given)
        job = FileJob(up, traced, context.source, context.target, case.scale, layout)
        loading = _warm_up(job, traced, (time.perf_counter() - start) * 1000)
        inner = traced.inner
        meter = inner if isinstance(inner, DeviceMeter) else None
        if meter:
            meter.start_device_times()
        runs, steady, result = _steady(context, job, meter, progress)
        peak = before, memory.peak()  # the reference may need more memory
        return Measured(
            plan=up.plan,
            runtime=traced.name,
            loading=loading,
            runs=runs,
            steady=steady,
            result=result,
            peak=peak,
            on_device=meter is not None or inner.on_device,
            device_bytes=dict(meter.device_bytes()) if meter else None,
            quality=attempt("quality", special, lambda: context.reference.score(up, case.scale)),
            load_before=load,
            special=special,
        )


def _warm_up(job: FileJob, traced: TracedRuntime, open_ms: float) -> Loading:
    first, _ = job.run()
    start, count = time.perf_counter(), 0
    while count < WARM_UP_RUNS or time.perf_counter() - start < WARM_UP_SECONDS:
        job.run()
        count += 1
    spent = (time.perf_counter() - start) * 1000
    return Loading(open_ms, dict(traced.opened), first.ms, count, spent)


def _steady(
    context: ProfileContext,
    job: FileJob,
    meter: DeviceMeter | None,
    progress: Callable[[float], None],
) -> tuple[Runs, Sampler, UpscaleResult]:
    runs, done = Runs(), 0.0
    with Sampler(context.found.sensors) as sampler:
        while done < 1:
            run, result = job.run()
            # After each run: a run has thousands of events, and they stay until they are read.
            runs.add(run, meter.device_times() if meter else ())
            done = context.window.done(time.perf_counter() - sampler.start, len(runs.ms))
            progress(done)
    return runs, sampler, result


def _load_average() -> float | None:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # not on Windows
        return None
