"""What `run` prints of many images: a bar for all of them, a line for each, and what failed."""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import TYPE_CHECKING

from clit_deploy.cli.failures import described
from clit_deploy.cli.json_document import failure, plain, print_document
from clit_deploy.cli.terminal import terminal
from clit_deploy.cli.workload import count
from clit_deploy.errors import SomeFailedError
from clit_deploy.system.files import is_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clit_deploy.tasks.batch import Outcome
    from clit_deploy.tasks.image_tasks import Task

SHOWN = 20
"""Most failed images that the summary names."""


class BatchReport:
    """Counts and prints. Progress may come from several threads.

    Args:
        tasks: all that is to be done.
        skipped: what is left out because its result exists.
        as_json: print JSON on stdout.
    """

    def __init__(self, tasks: Sequence[Task], skipped: Sequence[Task], *, as_json: bool) -> None:
        self._as_json, self._runtime = as_json, ""
        self._total, self._is_one = len(tasks), len(tasks) + len(skipped) == 1
        self._finished: list[str] = []
        self._failed: list[str] = []
        self._bar: Callable[..., None] | None = None
        self._lock = threading.Lock()
        self._pixels = sum(task.pixels for task in tasks) or 1
        self._parts: dict[Task, float] = {}
        for task in skipped if as_json else ():
            left_out = {"input": str(task.source), "output": str(task.target)}
            print_document(results=[], skipped=left_out)
        if skipped:
            terminal.note(f"{count(len(skipped), 'image')} left out: the results exist")

    def start(self, runtime: str, bar: Callable[..., None] | None) -> None:
        """Name the runtime in every result, and show progress on a bar if there is one."""
        self._runtime, self._bar = runtime, bar

    def progress(self, task: Task) -> Callable[[float], None] | None:
        """The callback for one task."""
        return partial(self._move, task) if self._bar is not None else None

    def add(self, outcome: Outcome) -> None:
        """Print what became of a task.

        Raises:
            Exception: the error of the task, if it is the only one.
        """
        if outcome.error is not None and self._is_one:
            raise outcome.error
        if outcome.error is not None:
            self._add_failure(outcome, outcome.error)
        elif outcome.result is not None:
            self._finished.append(outcome.result.output)
            if self._as_json:
                print_document(results=[{**plain(outcome.result), "runtime": self._runtime}])
            else:
                height, width = outcome.result.size
                say = terminal.note if is_stream(outcome.task.target) else terminal.result
                say(
                    f"{outcome.result.output}  {width}x{height}  {outcome.result.seconds:.1f} s  "
                    f"{self._runtime}"
                )
        self._move(outcome.task, 1.0)

    def say_finished(self) -> None:
        """Say how much of the work was finished, for one that a signal stops."""
        if self._total > 1:
            names = f"; the last one is {self._finished[-1]}" if self._finished else ""
            terminal.note(f"{len(self._finished)} of {count(self._total, 'image')} finished{names}")

    def close(self) -> None:
        """Name what failed.

        Raises:
            SomeFailedError: something did.
        """
        if not self._failed:
            return
        names = ", ".join(self._failed[:SHOWN])
        if len(self._failed) > SHOWN:
            names += f" and {len(self._failed) - SHOWN} more"
        raise SomeFailedError(
            f"{len(self._failed)} of {count(self._total, 'image')} failed: {names}."
        )

    def _add_failure(self, outcome: Outcome, error: Exception) -> None:
        message, code = described(error)
        logging.getLogger(__name__).debug("traceback of the error below", exc_info=error)
        self._failed.append(str(outcome.task.source))
        if self._as_json:
            found = failure(error, message, code)
            print_document(results=[], input=str(outcome.task.source), error=found)
        name = outcome.task.source.name
        terminal.error(message if name in message else f"{name}: {message}")

    def _move(self, task: Task, part: float) -> None:
        if self._bar is None:
            return
        with self._lock:
            self._parts[task] = part * task.pixels
            done = sum(self._parts.values()) / self._pixels
            place = f"[{len(self._finished) + len(self._failed)}/{self._total}] "
            self._bar(done, (place if self._total > 1 else "") + task.source.name)
