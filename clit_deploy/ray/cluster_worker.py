"""The actor of `clit-deploy ray`: it makes images, or bands of them, on a shared file system."""

from __future__ import annotations

import pickle
from functools import partial
from typing import TYPE_CHECKING, Any

from clit_deploy.errors import ClusterError, error_message
from clit_deploy.ray.actor_share import node_name, running_settings
from clit_deploy.ray.cluster_request import Done, portable
from clit_deploy.tasks.batch import outcomes
from clit_deploy.tasks.row_bands import cut_image, make_band
from clit_deploy.tasks.upscale_file import UpscaleResult, upscale_file
from clit_deploy.upscaler import Upscaler, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clit_deploy.ray.cluster_request import WorkerSettings
    from clit_deploy.tasks.image_tasks import Task
    from clit_deploy.tasks.row_bands import Cut
    from clit_deploy.tasks.turns import Turn

    Work = Callable[[Upscaler, list[tuple[int, Any]], WorkerSettings], Iterator[Done]]
    """Does numbered pieces of work; a failure stops none of the others."""


class ClusterWorker:
    """Loads the plan once and does one kind of work on whatever comes.

    A plan that cannot be loaded is an answer to every batch, not an error of the constructor:
    that would reach the user as a traceback of Ray's.

    Args:
        settings: how to load and to write.
        work: `whole_images`, `cuts` or `bands`.
    """

    def __init__(self, settings: WorkerSettings, work: Work) -> None:
        self._settings, self._work = settings, work
        self._up: Upscaler | None = None
        self._broken: ClusterError | None = None
        try:
            self._up = load(
                settings.plan,
                rebuild=settings.rebuild,
                device=settings.device,
                **running_settings(settings.runtime, settings.threads, settings.max_memory),
            )
        except Exception as error:
            reason = error_message(portable(error))
            self._broken = ClusterError(f"On node {node_name()}: {reason}")

    def __call__(self, batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Answer to rows of `number` and `item` (pickled) with rows of `done` (pickled)."""
        if self._up is None:
            yield _row(Done(-1, error=self._broken))
            return
        items = [pickle.loads(item) for item in batch["item"]]  # noqa: S301  (our own driver's)
        numbered = list(zip(map(int, batch["number"]), items, strict=True))
        for done in self._work(self._up, numbered, self._settings):
            yield _row(done)


def _row(done: Done) -> dict[str, Any]:
    return {"done": [pickle.dumps(done)]}


def whole_images(
    up: Upscaler, numbered: list[tuple[int, Task]], settings: WorkerSettings
) -> Iterator[Done]:
    """Upscale files like `clit-deploy run`; one is read and one encoded while another computes.

    Results are overwritten: whether they may be was checked before, and a worker that died may
    have written some.
    """
    numbers = {task: number for number, task in numbered}

    def upscale(task: Task, turn: Turn) -> UpscaleResult:
        return upscale_file(
            up,
            task.source,
            task.target,
            task.wanted,
            options=settings.options,
            force=True,
            turn=turn,
            resume=settings.resume,
        )

    for outcome in outcomes([task for _, task in numbered], upscale, up.max_memory):
        error = outcome.error and portable(outcome.error)
        yield Done(numbers[outcome.task], outcome.result, error)


def cuts(
    up: Upscaler, numbered: list[tuple[int, Task]], settings: WorkerSettings
) -> Iterator[Done]:
    """Decide how images are cut into bands."""
    for number, task in numbered:
        yield _attempt(number, partial(cut_image, up, task, settings.options))


def bands(
    up: Upscaler, numbered: list[tuple[int, tuple[Cut, int]]], settings: WorkerSettings
) -> Iterator[Done]:
    """Make bands."""
    for number, (cut, band) in numbered:
        yield _attempt(number, partial(make_band, up, cut, band, settings.options))


def _attempt(number: int, work: Callable[[], Any]) -> Done:
    try:
        return Done(number, work())
    except Exception as error:  # any failure: the other images must go on
        return Done(number, error=portable(error))
