"""Profile a plan: check everything first, then measure case after case."""

from __future__ import annotations

import datetime
import hashlib
import logging
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clit_deploy.config import parse_bytes
from clit_deploy.errors import ClitDeployError, ProfileError, error_message
from clit_deploy.grid.tiling import round_up, tiles
from clit_deploy.images.image_files import PHOTOGRAPH, read_image
from clit_deploy.plan.plan_file import Plan
from clit_deploy.profile.bench import MeasureWindow, ProfileContext, lay_out, opened
from clit_deploy.profile.curves import AVAILABLE, MACHINE, PROCESS
from clit_deploy.profile.layer_times import time_layers
from clit_deploy.profile.machine import machine
from clit_deploy.profile.measure import measure
from clit_deploy.profile.power import idle_watts
from clit_deploy.profile.profile_file import Failure, ImageInfo, Profile
from clit_deploy.profile.reference import Reference, check_reference
from clit_deploy.profile.row import make_row
from clit_deploy.profile.sampler import Sampler
from clit_deploy.profile.sensors import SensorSet, find
from clit_deploy.profile.sensors.sensor import Sensor
from clit_deploy.profile.stats import LEAST_RUNS
from clit_deploy.profile.sweep import Case, Sweep, cases
from clit_deploy.render.layout import Layout
from clit_deploy.system import memory
from clit_deploy.upscaler import default_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clit_deploy.profile.records import Row
    from clit_deploy.render.layout import Job
    from clit_deploy.upscaler import Upscaler

log = logging.getLogger(__name__)

IDLE_SECONDS = 2.0
"""How long the power of the idle machine is measured, where there are monitors."""
DEFAULT_SECONDS = 10.0


@dataclass(frozen=True)
class Request:
    """What to measure; see the options of `clit-deploy profile`."""

    plan: Path | None = None
    image: Path | None = None
    scales: Sequence[float] = (4.0,)
    seconds: float | None = None
    iterations: int | None = None
    runtime: str = "auto"
    threads: int | None = None
    max_memory: str | None = None
    sweeps: Sequence[Sweep] = ()
    reference: Path | None = None
    root: Path = Path("/")
    """Where `sys` and `proc` are."""


def profile(request: Request, progress: Callable[[str, float], None] | None = None) -> Profile:
    """Measure every combination that is asked for.

    Args:
        request: what to measure.
        progress: called with the row that is being measured, and the part that is done.

    Raises:
        ClitDeployError: whatever is wrong, before anything is measured if it can be known.
    """
    with tempfile.TemporaryDirectory(prefix="clit-profile-") as folder:
        started = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        source = _picture(request)
        picture = read_image(source).rgb
        wanted, window, allowed = _wanted(request), _window(request), _allowed(request)
        plans = list(dict.fromkeys(case.plan for _, case in wanted))
        for plan in plans:
            Plan.open(plan)
        if request.reference:
            check_reference(request.reference)
        found, domains = find(request.root)
        idle = _idle(found)  # a runtime that is opened may keep its device awake
        _check([case for _, case in wanted], picture, request.max_memory)
        bench = ProfileContext(
            root=request.root,
            source=source,
            target=Path(folder) / "output.png",
            found=found,
            domains=domains,
            idle=idle,
            window=window,
            max_memory=request.max_memory,
            reference=Reference(picture, request.reference, plans, Path(folder), allowed),
        )
        found.sensors += _memory_sensors()
        rows, failed = _rows(bench, wanted, progress)
        about = machine(request.root), _info(source, picture)
        return Profile(started, *about, tuple(rows), tuple(failed))


def _rows(
    bench: ProfileContext,
    wanted: Sequence[tuple[dict[str, Any], Case]],
    progress: Callable[[str, float], None] | None,
) -> tuple[list[Row], list[Failure]]:
    """All rows, one after the other; one that fails does not take the others with it.

    Raises:
        ClitDeployError: there is no other.
    """
    rows, failed = [], []
    for k, (asked, case) in enumerate(wanted):
        try:
            rows.append(_row(bench, asked, case, _teller(progress, asked, k, len(wanted))))
        except (ClitDeployError, MemoryError) as error:
            if len(wanted) == 1:
                raise
            failed.append(Failure(asked, error_message(error)))
    if not rows:
        raise ProfileError(f"No row could be measured; the first: {failed[0].reason}")
    return rows, failed


def _row(
    bench: ProfileContext, asked: dict[str, Any], case: Case, progress: Callable[[float], None]
) -> Row:
    memory.restart_peak()  # or rows would have the peaks of those before them
    before = memory.peak()
    measured = measure(bench, case, progress)
    layers = time_layers(bench, case, Layout(measured.outcome.tile, measured.outcome.block))
    return make_row(bench, case, asked, measured, layers, before)


def _wanted(request: Request) -> list[tuple[dict[str, Any], Case]]:
    swept = any(sweep.key == "plan" for sweep in request.sweeps)
    if swept and request.plan:
        raise ProfileError("Name plans either with --engine or with --sweep plan=, not with both.")
    plan = Path() if swept else request.plan or default_plan()
    base = Case(plan, 1.0, request.runtime, request.threads)
    return cases(base, request.scales, request.sweeps)


def _check(wanted: Sequence[Case], picture: Any, max_memory: str | None) -> None:
    """Refuse before anything is measured: plans, runtimes, scales, tiles, and what does not fit."""
    alike: defaultdict[Case, list[Case]] = defaultdict(list)
    for case in wanted:
        alike[replace(case, scale=1.0, tile=None, block=None)].append(case)
    for opening, some in alike.items():
        with opened(opening, max_memory) as up:
            for case in some:
                job = up.renderer.job(picture, scale=case.scale)
                _check_tile(up, case, job)
                lay_out(up, case, job)


def _check_tile(up: Upscaler, case: Case, job: Job) -> None:
    info = up.plan.manifest.encoder
    for side in job.size if case.tile else ():
        padded = round_up(side, info.multiple)
        tiles(padded, case.tile or padded, info.halo, up.plan.manifest.margin, info.multiple)


def _allowed(request: Request) -> int | None:
    return None if request.max_memory is None else parse_bytes(request.max_memory)


def _window(request: Request) -> MeasureWindow:
    if request.iterations is not None and request.seconds is not None:
        raise ProfileError("Give either --duration or --iterations, not both.")
    if request.iterations is not None:
        return MeasureWindow(0.0, request.iterations)
    return MeasureWindow(
        DEFAULT_SECONDS if request.seconds is None else request.seconds, LEAST_RUNS
    )


def _idle(found: SensorSet) -> dict[str, float]:
    monitors = found.of("power", "energy")
    if not monitors:
        return {}
    with Sampler(monitors) as sampler:
        time.sleep(IDLE_SECONDS)
    return idle_watts(sampler)


def _memory_sensors() -> list[Sensor]:
    wanted = {PROCESS: memory.resident, MACHINE: memory.used, AVAILABLE: memory.available}
    return [
        Sensor(name, "memory", _number(read)) for name, read in wanted.items() if read() is not None
    ]


def _number(read: Callable[[], int | None]) -> Callable[[], float]:
    def number() -> float:
        value = read()
        if value is None:
            raise ValueError
        return value

    return number


def _picture(request: Request) -> Path:
    if request.image is None:
        log.warning("no picture is named, so %s of the package is taken", PHOTOGRAPH.name)
    return request.image or PHOTOGRAPH


def _info(source: Path, picture: Any) -> ImageInfo:
    pixels = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    digest = hashlib.sha256(pixels.tobytes()).hexdigest()
    return ImageInfo(source.name, picture.shape[0], picture.shape[1], digest)


def _teller(
    progress: Callable[[str, float], None] | None, asked: dict[str, Any], index: int, count: int
) -> Callable[[float], None]:
    label = ", ".join(f"{key}={value}" for key, value in asked.items())

    def reported(done: float) -> None:
        if progress:
            progress(label, (index + done) / count)

    return reported
