"""A device without room: what would fit into the room that there is."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING

from clit_deploy.errors import DeviceMemoryError
from clit_deploy.render.budget import device_memory, in_device, layouts, working_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clit_deploy.render.budget import Forecast
    from clit_deploy.render.scheduler import Job, Layout, Scheduler


@contextlib.contextmanager
def with_memory_advice(scheduler: Scheduler, job: Job, forecast: Forecast) -> Iterator[None]:
    """Add to an error about the device's memory how the work would have to be cut.

    Raises:
        DeviceMemoryError: what came from inside, with that sentence.
    """
    try:
        yield
    except DeviceMemoryError as error:
        if error.room is None:
            raise
        advice = _advice(scheduler, job, forecast, error.room)
        raise DeviceMemoryError(f"{error} {advice}", error.room) from error


def _advice(scheduler: Scheduler, job: Job, forecast: Forecast, room: int) -> str:
    if in_device(scheduler) and scheduler.runtime.work_limits.max_tile is None:  # no engines
        return "Use --runtime cpu."
    fits = _that_fits(scheduler, job, forecast.layout, room)
    if fits is None:
        return "Not even the smallest tiles are expected to fit."
    if in_device(scheduler):
        return f"What should fit: clit-deploy build --tile {fits.tile} --chunk 1."
    now, then = (working_memory(scheduler, job, way) for way in (forecast.layout, fits))
    return f"What should fit: --max-memory {math.ceil((forecast.peak - now + then) / 1e6)}MB."


def _that_fits(scheduler: Scheduler, job: Job, tried: Layout, room: int) -> Layout | None:
    """The first smaller way to cut the job that fits. The blocks of a device with memory of its own
    are those that its engines were built for."""
    ways = layouts(scheduler, job)
    smaller = ways[ways.index(tried) + 1 :] if tried in ways else ways
    for way in smaller:
        kept = way.block == tried.block or not in_device(scheduler)
        if kept and device_memory(scheduler, job, way) <= room:
            return way
    return None
