"""Samples for calibration: the inputs of each graph of a plan while images are upscaled."""

from __future__ import annotations

import hashlib
import heapq
import itertools
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.calibration.crops import render, shrink
from clit_deploy.calibration.originals import Part
from clit_deploy.runtimes.protocols import WorkLimits
from clit_deploy.runtimes.wrappers import InputRecorder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from clit_deploy.calibration.originals import Original
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.runtimes.protocols import Runtime
    from clit_deploy.runtimes.wrappers import Feeds

SAMPLE_SCALES = (2.0, 3.0, 4.0, 6.0, 12.0, 30.0)
"""Images use these scales in turn; every fourth image uses a random one."""
RANDOM_SCALES = (1.5, 16.0)
SIDE = 256
"""Side of the part of an image that is shrunk and upscaled again."""
MIN_TURNS = 8
"""Least number of runs for each kind of image, so that every scale is used; few images run several
times."""

MAX_BATCHES = 192
"""Most batches that are kept for each graph."""
MAX_BYTES = 96_000_000
"""Most bytes that are kept for each graph."""

Batch = dict[str, "NDArray[np.generic]"]


class Reservoir:
    """A few batches out of many, spread evenly: those whose index has the smallest hash. Of equal
    batches only one is kept."""

    def __init__(self, seed: int = 0, most: int = MAX_BATCHES, most_bytes: int = MAX_BYTES) -> None:
        self.offered = 0
        self._seed, self._most, self._most_bytes, self._held = seed, most, most_bytes, 0
        self._heap: list[tuple[int, str, Batch]] = []  # largest hash first
        self._known: set[str] = set()

    def offer(self, feeds: Mapping[str, NDArray[np.generic]]) -> None:
        """Keep a copy of a batch, or drop it."""
        text = f"{self._seed} {self.offered}".encode()
        self.offered += 1
        rank = -int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
        if len(self._heap) >= self._most and rank < self._heap[0][0]:
            return
        content = digest_of(feeds)
        if content in self._known:
            return
        batch = {name: np.array(value) for name, value in feeds.items()}
        self._known.add(content)
        self._held += _bytes(batch)
        heapq.heappush(self._heap, (rank, content, batch))
        while len(self._heap) > 1 and (
            len(self._heap) > self._most or self._held > self._most_bytes
        ):
            _, content, batch = heapq.heappop(self._heap)
            self._known.discard(content)
            self._held -= _bytes(batch)

    def batches(self) -> list[Batch]:
        """The batches that are kept."""
        return [batch for _, _, batch in sorted(self._heap, key=lambda kept: -kept[0])]

    def digest(self) -> str:
        """SHA-256 of the batches that are kept."""
        return hashlib.sha256(repr(sorted(self._known)).encode()).hexdigest()


def digest_of(feeds: Mapping[str, NDArray[np.generic]]) -> str:
    """A digest of a batch: names, shapes and numbers."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(feeds):
        value = np.ascontiguousarray(feeds[name])
        digest.update(f"{name} {value.shape} {value.dtype}".encode())
        digest.update(value.data)
    return digest.hexdigest()


def _bytes(batch: Batch) -> int:
    return sum(value.nbytes for value in batch.values())


def record(
    plan: Plan,
    runtime: Runtime,
    images: Sequence[Original],
    seed: int = 0,
) -> dict[str, Reservoir]:
    """Upscale images and keep some of the inputs of every graph; each kind of image takes
    `MIN_TURNS` runs or more.

    Args:
        plan: a float plan.
        runtime: the runtime to use.
        images: high-resolution images.
        seed: decides the random scales, and which batches are kept.

    Returns: the reservoir of each graph, by member name.
    """
    reservoirs: dict[str, Reservoir] = {}

    def keep(member: str, feeds: Feeds) -> None:
        batch = {name: np.asarray(value) for name, value in feeds.items()}
        reservoirs.setdefault(member, Reservoir(seed)).offer(batch)

    # On one thread, chunks and their order are the same on every machine.
    recording = InputRecorder(runtime, keep, WorkLimits())
    for kind in dict.fromkeys(image.kind for image in images):
        some = [image for image in images if image.kind == kind]
        scales = scales_for(max(len(some), MIN_TURNS), seed)
        for image, scale in zip(itertools.cycle(some), scales, strict=False):
            low, _ = shrink(image, scale, SIDE, Part.BUSIEST)
            render(plan, recording, low, scale)
    return reservoirs


def scales_for(count: int, seed: int = 0) -> list[float]:
    """A scale for each of `count` runs."""
    random = np.random.RandomState(seed)
    low, high = np.log(RANDOM_SCALES)
    drawn = np.round(np.exp(random.uniform(low, high, count)), 2)
    fixed = iter(SAMPLE_SCALES * count)
    return [float(drawn[k]) if k % 4 == 3 else next(fixed) for k in range(count)]
