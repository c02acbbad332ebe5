"""The process that talks to Ray for `clit-deploy ray`.

It is a process of its own because Ray ends the process that loses its head, from native code and
without a word. The request comes on stdin, answers go to stdout, both pickled. When stdin ends,
the command is gone, and so is the work.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

import ray

from clit_deploy.errors import ClitDeployError, ClusterError, printable
from clit_deploy.ray.actor_pool import ActorPool, prepare_data
from clit_deploy.ray.cluster_request import Done, Started, WorkerSettings, portable
from clit_deploy.ray.cluster_worker import bands, cuts, whole_images
from clit_deploy.ray.node_check import check_nodes
from clit_deploy.ray.ship_plan import ship
from clit_deploy.tasks.row_bands import join_bands

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clit_deploy.ray.cluster_request import ClusterRequest
    from clit_deploy.tasks.row_bands import Cut

CONNECTING = 15.0
"""Seconds that a head may take to answer; what is not Ray never does."""
LAST_WORDS = 5.0
"""Seconds that Ray may take to shut down when the command is gone."""


def main() -> None:
    """Do one request."""
    request: ClusterRequest = pickle.load(sys.stdin.buffer)  # noqa: S301  (our own command's)
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # whatever Ray prints is not an answer
        threading.Thread(target=_end_with_command, daemon=True).start()
        try:
            with _limited(request.address, answers):
                _connect(request.address)
            for answer in _answers(request):
                _send(answers, answer)
            _send(answers, None)
        except ClitDeployError as error:
            _send(answers, portable(error))
        except Exception as error:
            _send(answers, ClusterError(f"Ray cannot go on: {printable(error, 500)}"))
    ray.shutdown()


def _send(answers: BinaryIO, answer: object) -> None:
    pickle.dump(answer, answers)
    answers.flush()


def _end_with_command() -> None:
    """Wait for the end of stdin, then end this process, and the work with it."""
    sys.stdin.buffer.read()
    threading.Thread(target=ray.shutdown, daemon=True).start()
    time.sleep(LAST_WORDS)
    os._exit(1)


def _answers(request: ClusterRequest) -> Iterator[Any]:
    """What the cluster gives, then what becomes of tasks, and how far bands are."""
    prepare_data()
    settings = WorkerSettings(plan=ship(request.plan), **request.settings)
    pool = ActorPool.of(request)
    nodes = [node for node in ray.nodes() if pool.can_use(node)]
    check_nodes(nodes, request.tasks)
    yield Started(pool.actors, len(nodes), pool.cpus, pool.gpus)
    if request.tiles:
        yield from _in_bands(request, pool, settings)
    else:
        yield from pool.done(request.tasks, whole_images, settings)


@contextlib.contextmanager
def _limited(address: str | None, answers: BinaryIO) -> Iterator[None]:
    """End this process where a head does not answer: Ray would wait for minutes."""

    def give_up() -> None:
        _send(
            answers,
            ClusterError(f"{address} accepts connections but does not answer like a Ray head."),
        )
        os._exit(1)

    timer = threading.Timer(CONNECTING, give_up)
    timer.daemon = True
    if address is not None:
        timer.start()
    yield
    timer.cancel()


def _connect(address: str | None) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        quiet["include_dashboard"] = False
    try:
        ray.init(address=address, **quiet)
    except Exception as error:
        where = f"of {address} " if address else ""
        raise ClusterError(
            f"The Ray cluster {where}cannot be used: {printable(error, 500)}"
        ) from error


def _in_bands(
    request: ClusterRequest, pool: ActorPool, settings: WorkerSettings
) -> Iterator[Done | tuple[int, float]]:
    """Cut every image, make all bands, and join those of an image when it has all of them."""
    start = time.perf_counter()
    found: dict[int, Cut] = {}
    for done in pool.done(request.tasks, cuts, settings):
        if done.error is not None:
            yield done
        else:
            found[done.number] = done.value
    wanted = [(number, band) for number, cut in found.items() for band in range(len(cut.bands))]
    left = {number: len(cut.bands) for number, cut in found.items()}
    failed: dict[int, Exception] = {}
    items = [(found[number], band) for number, band in wanted]
    for done in pool.done(items, bands, settings, most=1):
        number, _ = wanted[done.number]
        left[number] -= 1
        if done.error is not None:
            failed[number] = done.error
        yield number, 1 - left[number] / len(found[number].bands)
        if not left[number]:
            seconds = time.perf_counter() - start
            yield _joined(number, found[number], failed.get(number), settings, seconds)


def _joined(
    number: int, cut: Cut, error: Exception | None, settings: WorkerSettings, seconds: float
) -> Done:
    """The result of an image whose bands are made, unless one of them failed."""
    if error is not None:
        return Done(number, error=error)
    try:
        join_bands(cut, settings.options)
    except Exception as raised:
        return Done(number, error=portable(raised))
    return Done(number, replace(cut.result, seconds=seconds))


if __name__ == "__main__":
    main()
