"""Draws batches in threads, ahead of the steps that need them."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from clit_deploy.training.batches import Draw

WORKERS = 4
AHEAD = 8
"""Batches that are ready or being drawn: a tenth of a second of steps on a fast GPU each worker."""


class Loader:
    """Batches of consecutive steps, in order.

    Args:
        draw: the batch of a step for a number of stages; it is called in threads.
        first: the first step.
    """

    def __init__(self, draw: Callable[[int, int], Draw], first: int) -> None:
        self._draw, self._next = draw, first
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="draw")
        self._waiting: deque[Future[Draw]] = deque()

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def next(self, stages: Callable[[int], int]) -> Draw:
        """The next step's batch; `stages` says how many a step of the near future may use."""
        while len(self._waiting) < AHEAD:
            step = self._next
            self._waiting.append(self._pool.submit(self._draw, step, stages(step)))
            self._next += 1
        return self._waiting.popleft().result()
