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
from clit_deploy.errors import ClitDeployError, OptionError, ProfileError, error_message
from clit_deploy.grid.tiling import round_up, tiles
from clit_deploy.images.image_files import PHOTOGRAPH, read_image
from clit_deploy.images.pixels import to_unit
from clit_deploy.plan.plan_file import Plan
from clit_deploy.profile.machine import machine
from clit_deploy.profile.measure import MeasureWindow, ProfileContext, lay_out, opened
from clit_deploy.profile.power import idle_watts
from clit_deploy.profile.profile_file import Failure, ImageInfo, Profile
from clit_deploy.profile.reference import Reference, check_reference
from clit_deploy.profile.row import measure_row
from clit_deploy.profile.sampler import Sampler
from clit_deploy.profile.sensors import SensorSet, find, host_memory
from clit_deploy.profile.stats import MIN_RUNS
from clit_deploy.profile.sweep import Case, Sweep, cases
from clit_deploy.upscaler import default_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clit_deploy.profile.records import Row
    from clit_deploy.render.layout import Job
    from clit_deploy.upscaler import Upscaler

    Requested = tuple[dict[str, Any], Case]

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
    device: str | None = None
    command: str = ""
    """The command line, for the record."""
    root: Path = Path("/")
    """Where `sys` and `proc` are."""

    def cases(self) -> list[Requested]:
        """Every combination of scales and swept values, and what distinguishes it.

        Raises:
            OptionError: values that are out of range or cannot be combined.
        """
        swept = any(sweep.key == "plan" for sweep in self.sweeps)
        if swept and self.plan:
            raise OptionError("--engine and --sweep plan= cannot be combined; give one of them.")
        plan = Path() if swept else self.plan or default_plan()
        base = Case(plan, 1.0, self.runtime, self.threads, device=self.device)
        return cases(base, self.scales, self.sweeps)

    def window(self) -> MeasureWindow:
        """How long to measure each case.

        Raises:
            OptionError: both a duration and a number of runs are given.
        """
        if self.iterations is not None and self.seconds is not None:
            raise OptionError("--duration and --iterations cannot be combined; give one of them.")
        if self.iterations is not None:
            return MeasureWindow(0.0, self.iterations)
        seconds = DEFAULT_SECONDS if self.seconds is None else self.seconds
        return MeasureWindow(seconds, MIN_RUNS)


def profile(request: Request, progress: Callable[[str, float], None] | None = None) -> Profile:
    """Measure every combination that is requested.

    Args:
        request: what to measure.
        progress: called with the row that is being measured, and the fraction that is done.

    Raises:
        ClitDeployError: whatever is wrong, before anything is measured if it can be known.
    """
    with tempfile.TemporaryDirectory(prefix="clit-profile-") as folder:
        started = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        source = _source(request)
        image = to_unit(read_image(source).rgb)
        wanted, window = request.cases(), request.window()
        allowed = None if request.max_memory is None else parse_bytes(request.max_memory)
        plans = list(dict.fromkeys(case.plan for _, case in wanted))
        for plan in plans:
            Plan.open(plan)
        if request.reference:
            check_reference(request.reference)
        found = find(request.root)
        idle = _idle(found)  # before a runtime is opened, which may keep its device awake
        _check([case for _, case in wanted], image, request.max_memory)
        found.sensors += host_memory.find(request.root)
        context = ProfileContext(
            source=source,
            target=Path(folder) / "output.png",
            found=found,
            idle=idle,
            window=window,
            max_memory=request.max_memory,
            reference=Reference(image, request.reference, plans, Path(folder), allowed),
        )
        rows, failed = _rows(context, wanted, progress)
        about = machine(request.root), _info(source, image)
        return Profile(started, *about, tuple(rows), tuple(failed), request.command)


def _rows(
    context: ProfileContext,
    wanted: Sequence[Requested],
    progress: Callable[[str, float], None] | None,
) -> tuple[list[Row], list[Failure]]:
    """All rows, one after the other; the others are kept when one fails.

    Raises:
        ClitDeployError: no row could be measured.
    """
    rows, failed = [], []
    for k, (requested, case) in enumerate(wanted):
        label = ", ".join(f"{key}={value}" for key, value in requested.items())

        def report(done: float, k: int = k, label: str = label) -> None:
            if progress:
                progress(label, (k + done) / len(wanted))

        try:
            rows.append(measure_row(context, case, requested, report))
        except (ClitDeployError, MemoryError) as error:
            if len(wanted) == 1:
                raise
            failed.append(Failure(requested, error_message(error)))
    if not rows:
        raise ProfileError(f"No row could be measured; the first: {failed[0].reason}")
    return rows, failed


def _check(wanted: Sequence[Case], image: Any, max_memory: str | None) -> None:
    """Refuse before anything is measured: plans, runtimes, scales, tiles, and what does not fit."""
    alike: defaultdict[Case, list[Case]] = defaultdict(list)
    for case in wanted:
        alike[replace(case, scale=1.0, tile=None, block=None)].append(case)
    for opening, some in alike.items():
        with opened(opening, max_memory) as up:
            for case in some:
                job = up.renderer.job(image, scale=case.scale)
                _check_tile(up, case, job)
                lay_out(up, case, job)


def _check_tile(up: Upscaler, case: Case, job: Job) -> None:
    info = up.plan.manifest.encoder
    for side in job.size if case.tile else ():
        padded = round_up(side, info.multiple)
        tiles(padded, case.tile or padded, info.halo, up.plan.manifest.margin, info.multiple)


def _idle(found: SensorSet) -> dict[str, float]:
    monitors = found.of("power", "energy")
    if not monitors:
        return {}
    with Sampler(monitors) as sampler:
        time.sleep(IDLE_SECONDS)
    return idle_watts(sampler)


def _source(request: Request) -> Path:
    if request.image is None:
        log.warning("no image is given; using the package's %s", PHOTOGRAPH.name)
    return request.image or PHOTOGRAPH


def _info(source: Path, image: Any) -> ImageInfo:
    pixels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    digest = hashlib.sha256(pixels.tobytes()).hexdigest()
    return ImageInfo(source.name, image.shape[0], image.shape[1], digest)
