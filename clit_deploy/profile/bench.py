"""What all cases of a profile share, and how a case is opened and laid out."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clit_deploy.config import show_bytes
from clit_deploy.engines.select import choose_runtime
from clit_deploy.errors import MemoryBudgetError
from clit_deploy.plan.plan_file import Plan
from clit_deploy.render.layout import Layout
from clit_deploy.upscaler import Upscaler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from clit_deploy.profile.reference import Reference
    from clit_deploy.profile.sensors import Domain, SensorSet
    from clit_deploy.profile.sweep import Case
    from clit_deploy.render.layout import Job
    from clit_deploy.runtimes.protocols import Runtime


@dataclass(frozen=True)
class MeasureWindow:
    """How long to measure: until both are reached."""

    seconds: float
    runs: int


@dataclass(frozen=True)
class ProfileContext:
    """What all cases of a profile share."""

    root: Path
    source: Path
    target: Path
    found: SensorSet
    domains: Sequence[Domain]
    idle: dict[str, float]
    window: MeasureWindow
    max_memory: str | None
    reference: Reference


@contextlib.contextmanager
def opened(
    case: Case, max_memory: str | None, observe: Callable[[Runtime], Runtime] = lambda same: same
) -> Iterator[Upscaler]:
    """A case's plan on its runtime, which `observe` may wrap. Engines that do not fit are not built
    again: that would change the plan, and count as opening it."""
    plan, runtime = choose_runtime(
        Plan.open(case.plan), case.runtime, threads=case.threads, rebuild=False
    )
    try:
        up = Upscaler(plan, runtime=observe(runtime), threads=case.threads, max_memory=max_memory)
    except BaseException:
        runtime.close()
        raise
    with up:
        yield up


def lay_out(up: Upscaler, case: Case, job: Job) -> Layout | None:
    """How the case asks to cut the work, or None; loads the graphs of the stages.

    Raises:
        MemoryBudgetError: that does not fit into the memory allowed.
    """
    chosen = up.renderer.prepare(job).forecast.layout
    if not (case.tile or case.block):
        return None
    layout = Layout(case.tile or chosen.tile, case.block or chosen.block)
    peak = up.renderer.prepare(job, layout=layout).forecast.peak
    if up.max_memory is not None and peak > up.max_memory:
        raise MemoryBudgetError(
            f"Tiles of {layout.tile} and blocks of {layout.block} need "
            f"{show_bytes(peak)}, more than --max-memory allows; sweep smaller ones."
        )
    return layout
