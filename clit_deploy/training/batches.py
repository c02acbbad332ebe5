"""What a step learns from: drawn on the host by the step's number, finished on the device."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from clit_deploy.grid.geometry import Span
from clit_deploy.training.dense_axis import to_device
from clit_deploy.training.gradients import Batch
from clit_deploy.training.patch import Patch
from clit_deploy.training.photo import Faults, degraded, reduced
from clit_deploy.training.synthetic import synthetic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clit_deploy.training.training_config import Config

SMALLEST_PATCH = 24
"""Side in output pixels: less would leave a step of a small scale with little to learn from."""
FREE = 0.4
"""Share of steps of several stages whose factors are all random; in the others the first ones are
the largest, as they are when a image is enlarged."""


@dataclass(frozen=True)
class Draw:
    """A batch before it is reduced."""

    pixels: NDArray[np.uint8]
    """High-resolution crops `[b, 3, size, size]`."""
    patch: Patch
    mirror: tuple[bool, bool, bool]
    """Whether the crops are turned upside down, left to right, and transposed."""
    places: NDArray[np.int64]
    """Output pixels of the patch `[b, q, 2]`."""
    faults: Faults | None
    """What the small images have been through, or nothing."""


def draw(
    photos: list[NDArray[np.uint8]], config: Config, stages: int, step: int, queries: int = 0
) -> Draw:
    """Crops for a step. All that is random in it comes from the step's number.

    Args:
        photos: images `[3, h, w]`.
        config: sizes and shares.
        stages: stages that may be used.
        step: number of the step.
        queries: places to draw for each crop.
    """
    rng = np.random.default_rng([config.seed, step])
    factors = _factors(config, stages, rng)
    patch = _patch(photos, config, factors, rng)
    large = [photo for photo in photos if min(photo.shape[1:]) >= patch.size]
    pixels = np.empty((config.batch, 3, patch.size, patch.size), np.uint8)
    for crop in pixels:
        if rng.random() < config.synthetic:
            crop[:] = synthetic(patch.size, rng)
        else:
            photo = large[rng.integers(len(large))]
            top, left = (int(rng.integers(length - patch.size + 1)) for length in photo.shape[1:])
            crop[:] = photo[:, top : top + patch.size, left : left + patch.size]
    down, across, swap = (bool(v) for v in rng.integers(2, size=3))
    corner = np.array([patch.rows.start, patch.cols.start])
    places = rng.integers(len(patch.rows), size=(config.batch, queries, 2)) + corner
    faults = Faults.draw(config.batch, rng) if config.degradation == "photo" else None
    return Draw(pixels, patch, (down, across, swap), places, faults)


def _factors(config: Config, stages: int, rng: np.random.Generator) -> tuple[float, ...]:
    shares = np.array(config.shares[:stages])
    used = int(rng.choice(stages, p=shares / shares.sum())) + 1
    largest = config.factors[:used]
    if used == 1 and config.whole and largest[0] >= 2 and rng.random() < config.whole:
        return (float(rng.integers(2, int(largest[0]) + 1)),)
    full = 0 if used == 1 or rng.random() < FREE else int(rng.integers(1, used))
    return (*largest[:full], *(float(rng.uniform(1, factor)) for factor in largest[full:]))


def _patch(
    photos: list[NDArray[np.uint8]],
    config: Config,
    factors: tuple[float, ...],
    rng: np.random.Generator,
) -> Patch:
    # The smaller half of the photographs is used where a scale leaves room for it.
    room = math.floor(statistics.median_high(min(photo.shape[1:]) for photo in photos))
    scale = math.prod(factors)
    low = max(min(config.crop, int(room / scale)), 1)
    size = min(round(low * scale), room)
    side = min(config.most, size, max(SMALLEST_PATCH, round(config.cells * scale)))
    top, left = (int(v) for v in rng.integers(size - side + 1, size=2))
    return Patch(low, size, factors, Span(top, top + side), Span(left, left + side))


def to_batch(found: Draw, device: torch.device) -> Batch:
    """Bring crops to the device, and reduce them there."""
    large = to_device(torch.from_numpy(found.pixels), device).float()
    down, across, swap = found.mirror
    axes = [axis for axis, wanted in ((2, down), (3, across)) if wanted]
    large = large.flip(axes) if axes else large
    large = large.transpose(2, 3).contiguous() if swap else large
    patch = found.patch
    if found.faults is None:
        small = reduced(large, patch.low)
    else:
        small = degraded(large, patch.low, found.faults)
    rows, cols = (slice(span.start, span.stop) for span in (patch.rows, patch.cols))
    truth = large[:, :, rows, cols] / 127.5 - 1
    places = to_device(torch.from_numpy(found.places), device)
    image = (small / 127.5 - 1).contiguous(memory_format=torch.channels_last)
    return Batch(image, truth, patch, places)
