"""Many images, one after the other: a failure stops none of the others."""

from __future__ import annotations

import dataclasses
from collections import deque
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clit_deploy.system.threads import thread_limit_explained
from clit_deploy.tasks.turns import ALONE, Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from clit_deploy.tasks.image_tasks import Task
    from clit_deploy.tasks.turns import Turn
    from clit_deploy.tasks.upscale_file import UpscaleResult

IN_WORK = 3
"""Images at once: one is read, one computes, one is encoded."""


@dataclass(frozen=True)
class Outcome:
    """What became of a task: a result or an error."""

    task: Task
    result: UpscaleResult | None = None
    error: Exception | None = None


def outcomes(
    tasks: Sequence[Task],
    upscale: Callable[[Task, Turn], UpscaleResult],
    max_memory: int | None = None,
) -> Iterator[Outcome]:
    """Do all tasks, and yield what became of each as it is finished.

    Args:
        tasks: what to do.
        upscale: does one task in its turn.
        max_memory: bytes that the process may hold; None takes what the machine has available.

    Raises:
        Interrupted: a signal asked the work to stop.
        ThreadLimitError: no thread can be started.
    """
    if len(tasks) == 1:
        yield _outcome(tasks[0], upscale, ALONE)
        return
    turns = Turns(max_memory)

    def in_turn(task: Task) -> Outcome:
        with turns.turn() as turn:
            return _outcome(task, upscale, turn)

    left = deque(tasks)
    running: set[Future[Outcome]] = set()
    with ThreadPoolExecutor(IN_WORK, thread_name_prefix="clit-image") as pool:
        while left or running:
            while left and len(running) < IN_WORK:
                with thread_limit_explained():
                    running.add(pool.submit(in_turn, left.popleft()))
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


def _outcome(task: Task, upscale: Callable[[Task, Turn], UpscaleResult], turn: Turn) -> Outcome:
    try:
        result = upscale(task, turn)
        return Outcome(task, dataclasses.replace(result, seconds=result.seconds - turn.waited))
    except Exception as error:  # whatever it is, the other images are no worse for it
        return Outcome(task, error=error)
