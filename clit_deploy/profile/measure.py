"""Measure one case: load, first run, warm-up, steady runs; then quality."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clit_deploy.profile.bench import lay_out, opened
from clit_deploy.profile.machine import swapped
from clit_deploy.profile.records import Loading
from clit_deploy.profile.runs import FileJob, Runs
from clit_deploy.profile.sampler import Sampler
from clit_deploy.runtimes.protocols import DeviceClock, DeviceMemory
from clit_deploy.runtimes.wrappers import TracedRuntime
from clit_deploy.system import memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.profile.bench import ProfileContext
    from clit_deploy.profile.records import Quality
    from clit_deploy.profile.sweep import Case
    from clit_deploy.runtimes.protocols import DeviceTime
    from clit_deploy.tasks.upscale_file import UpscaleResult

WARM_UP_RUNS = 2
"""After the first run; memory and caches settle in them."""
LEAST_WARM_UP = 0.2
"""Seconds."""


@dataclass(frozen=True)
class Measured:
    """What one case gave."""

    plan: Plan
    runtime: str
    loading: Loading
    runs: Runs
    steady: Sampler
    outcome: UpscaleResult
    peak: int
    """The most that the process had held by the end of the steady runs, bytes."""
    on_device: bool
    device: tuple[DeviceTime, ...] | None
    device_bytes: dict[str, int] | None
    quality: Quality | None
    no_quality: str
    swap: tuple[int | None, int | None]
    load_before: float | None


def measure(bench: ProfileContext, case: Case, progress: Callable[[float], None]) -> Measured:
    """Measure a case; `tell` hears the part that is done."""
    load, start = _load_average(), time.perf_counter()
    with opened(case, bench.max_memory, TracedRuntime) as up:
        whole = up.renderer.job(bench.reference.picture, scale=case.scale)
        layout = lay_out(up, case, whole)
        observed = up.runtime
        assert isinstance(observed, TracedRuntime)  # noqa: S101  (it was just given)
        job = FileJob(up, observed, bench.source, bench.target, case.scale, layout)
        loading = _warm_up(job, observed, (time.perf_counter() - start) * 1000)
        inner, swap_start = observed.inner, swapped(bench.root)
        clock = inner if isinstance(inner, DeviceClock) else None
        if clock:
            clock.start_device_times()
        runs, steady, outcome = _steady(bench, job, clock, progress)
        # Before the reference comes, which may need more memory.
        peak, swap_end = memory.peak(), swapped(bench.root)
        quality, no_quality = bench.reference.score(up, case.scale)
        return Measured(
            plan=up.plan,
            runtime=observed.name,
            loading=loading,
            runs=runs,
            steady=steady,
            outcome=outcome,
            peak=peak,
            on_device=clock is not None or inner.on_device,
            device=runs.device() if clock else None,
            device_bytes=dict(inner.device_bytes()) if isinstance(inner, DeviceMemory) else None,
            quality=quality,
            no_quality=no_quality,
            swap=(swap_start, swap_end),
            load_before=load,
        )


def _warm_up(job: FileJob, observed: TracedRuntime, open_ms: float) -> Loading:
    first, _ = job.run()
    start, count = time.perf_counter(), 0
    while count < WARM_UP_RUNS or time.perf_counter() - start < LEAST_WARM_UP:
        job.run()
        count += 1
    spent = (time.perf_counter() - start) * 1000
    return Loading(open_ms, dict(observed.opened), first.ms, count, spent)


def _steady(
    bench: ProfileContext,
    job: FileJob,
    clock: DeviceClock | None,
    progress: Callable[[float], None],
) -> tuple[Runs, Sampler, UpscaleResult]:
    runs, window = Runs(), bench.window
    with Sampler(bench.found.sensors) as sampler:
        while True:
            run, outcome = job.run()
            # After each run: events that nobody asks for stay, and there are thousands in a run.
            runs.add(run, clock.device_times() if clock else ())
            spent = time.perf_counter() - sampler.start
            done = len(runs.ms) / window.runs, spent / window.seconds if window.seconds else 1.0
            progress(min(*done, 1.0))
            if min(done) >= 1:
                return runs, sampler, outcome


def _load_average() -> float | None:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # not on Windows
        return None
