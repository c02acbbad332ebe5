"""Samples for calibration: what each graph of a plan really sees while pictures are upscaled."""

from __future__ import annotations

import hashlib
import heapq
import itertools
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.calibration.calibration_images import Part
from clit_deploy.calibration.crops import render, shrink
from clit_deploy.runtimes.protocols import WorkLimits
from clit_deploy.runtimes.wrappers import InputRecorder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.runtimes.protocols import Runtime
    from clit_deploy.runtimes.wrappers import Feeds

SAMPLE_SCALES = (2.0, 3.0, 4.0, 6.0, 12.0, 30.0)
"""Images take turns with these scales; every fourth gets a random one."""
RANDOM_SCALES = (1.5, 16.0)
SIDE = 256
"""Of the part of a picture that is shrunk and enlarged again."""
MIN_TURNS = 8
"""Turns, so that every scale has one; few pictures have several."""

MAX_BATCHES = 96
"""Batches that are kept of each graph."""
MAX_BYTES = 96_000_000
"""Bytes that are kept of each graph."""

Batch = dict[str, "NDArray[np.generic]"]


class Reservoir:
    """A few batches out of many, spread evenly: those whose number has the smallest hash. Of equal
    batches one is kept, so that no two are alike."""

    def __init__(self, seed: int = 0, most: int = MAX_BATCHES, most_bytes: int = MAX_BYTES) -> None:
        self.offered = 0
        self._seed, self._most, self._most_bytes, self._held = seed, most, most_bytes, 0
        self._heap: list[tuple[int, str, Batch]] = []  # largest hash first
        self._known: set[str] = set()

    def offer(self, feeds: Mapping[str, NDArray[np.generic]]) -> None:
        """Keep a copy of a batch, or let it go."""
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
        """What is kept."""
        return [batch for _, _, batch in sorted(self._heap, key=lambda kept: -kept[0])]

    def digest(self) -> str:
        """Of all that is kept."""
        return hashlib.sha256(repr(sorted(self._known)).encode()).hexdigest()


def digest_of(feeds: Mapping[str, NDArray[np.generic]]) -> str:
    """Of a batch: names, shapes and numbers."""
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
    pictures: Sequence[NDArray[np.uint8]],
    seed: int = 0,
) -> dict[str, Reservoir]:
    """Upscale pictures, each once or in `MIN_TURNS` turns, and keep some of what every graph gets.

    Args:
        plan: a float plan.
        runtime: where to run.
        pictures: high-resolution pictures, `[h, w, 3]`.
        seed: decides the random scales, and which batches are kept.
    """
    reservoirs: dict[str, Reservoir] = {}

    def keep(member: str, feeds: Feeds) -> None:
        batch = {name: np.asarray(value) for name, value in feeds.items()}
        reservoirs.setdefault(member, Reservoir(seed)).offer(batch)

    # On one thread chunks and their order are the same on every machine.
    recording = InputRecorder(runtime, keep, WorkLimits())
    turns = scales_for(max(len(pictures), MIN_TURNS), seed)
    for picture, scale in zip(itertools.cycle(pictures), turns, strict=False):
        low, _ = shrink(picture, scale, SIDE, Part.BUSIEST)
        render(plan, recording, low, scale)
    return reservoirs


def scales_for(count: int, seed: int = 0) -> list[float]:
    """A scale for each of so many turns."""
    random = np.random.RandomState(seed)
    low, high = np.log(RANDOM_SCALES)
    drawn = np.round(np.exp(random.uniform(low, high, count)), 2)
    fixed = iter(SAMPLE_SCALES * count)
    return [float(drawn[k]) if k % 4 == 3 else next(fixed) for k in range(count)]
