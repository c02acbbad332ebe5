"""Pieces of work on actors of Ray Data: how many, with what, and what becomes of lost ones."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray
import ray.data
from ray.data import ActorPoolStrategy, DataContext

from clit_deploy.config import RuntimeName
from clit_deploy.errors import ClusterError
from clit_deploy.ray.cluster_request import Done
from clit_deploy.ray.cluster_worker import ClusterWorker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from clit_deploy.ray.cluster_request import ClusterRequest, WorkerSettings
    from clit_deploy.ray.cluster_worker import Work

RETRIES = 3
"""How often work is tried again after its worker died."""
MOST_AT_ONCE = 8
"""Most pieces that are lost and repeated together if a worker dies."""
ROUNDS = 4
"""Batches for each actor at least, so that none is idle at the end for long."""


@dataclass(frozen=True)
class ActorPool:
    """Actors of one size."""

    actors: int
    cpus: int
    gpus: float

    @classmethod
    def of(cls, request: ClusterRequest) -> ActorPool:
        """As requested, and as the cluster allows; by default all of it.

        Raises:
            ClusterError: no node has what one actor needs.
        """
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = _gpus(request, nodes)
        fitting = [n for n in nodes if n.get("CPU", 0) >= 1 and n.get("GPU", 0) >= gpus]
        cpus = request.settings["threads"] or _cpus(fitting, gpus)
        fitting = [n for n in fitting if n["CPU"] >= cpus]
        if not fitting:
            most = max((int(node.get("CPU", 0)) for node in nodes), default=0)
            raise ClusterError(
                f"No node has what an actor needs, {cpus} CPUs and {gpus:g} GPUs; the largest has "
                f"{most} CPUs. Use fewer --threads or --gpus, or add a node."
            )
        room = sum(
            min(int(n["CPU"] // cpus), int(n["GPU"] / gpus) if gpus else int(n["CPU"]))
            for n in fitting
        )
        return cls(min(request.actors or room, room), cpus, gpus)

    def can_use(self, node: dict[str, Any]) -> bool:
        """Whether an actor can be on a node."""
        resources = node["Resources"]
        fits = resources.get("CPU", 0) >= self.cpus and resources.get("GPU", 0) >= self.gpus
        return bool(node["Alive"]) and fits

    def done(
        self,
        items: Sequence[Any],
        work: Work,
        settings: WorkerSettings,
        *,
        most: int = MOST_AT_ONCE,
    ) -> Iterator[Done]:
        """Do numbered items, and yield what became of each as it is known.

        What is lost with a worker again and again is tried once more alone; then it has failed.

        Args:
            items: what to do.
            work: how, see `cluster_worker`.
            settings: of the workers.
            most: items that a worker does at once.

        Raises:
            ClusterError: a worker cannot load the plan.
        """
        left = dict(enumerate(items))
        size = max(1, min(most, len(items) // (self.actors * ROUNDS)))
        for at_once in (size, 1):
            for done in self._pass(left, work, settings, at_once):
                if done.number < 0 and done.error is not None:
                    raise done.error
                if left.pop(done.number, None) is not None:
                    yield done
        for number in left:
            yield _lost(number)

    def _pass(
        self, left: dict[int, Any], work: Work, settings: WorkerSettings, at_once: int
    ) -> Iterator[Done]:
        if not left:
            return
        rows = [{"number": number, "item": pickle.dumps(item)} for number, item in left.items()]
        dataset = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // at_once))
        alone = at_once == 1
        done = dataset.map_batches(
            ClusterWorker,
            fn_constructor_args=(settings, work),
            batch_size=None,
            compute=ActorPoolStrategy(
                size=min(self.actors, len(rows)), max_tasks_in_flight_per_actor=1 if alone else 2
            ),
            num_cpus=self.cpus,
            num_gpus=self.gpus or None,
            max_restarts=-1,
            max_task_retries=RETRIES,
        )
        yield from _loaded(done.iter_rows())


def prepare_data() -> None:
    """Ray Data without bars, and with jobs that survive the loss of a batch."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1
    context.target_max_block_size = 1  # every result is known as soon as it is finished


def _loaded(rows: Iterable[dict[str, Any]]) -> Iterator[Done]:
    for row in rows:
        yield pickle.loads(row["done"])  # noqa: S301  (our own worker's)


def _lost(number: int) -> Done:
    return Done(
        number,
        error=ClusterError(
            "Its worker died whenever it was tried. The image may need more memory than the node "
            "has (use --max-memory, or fewer actors on a node), or see the logs of Ray."
        ),
    )


def _gpus(request: ClusterRequest, nodes: Sequence[dict[str, float]]) -> float:
    """GPUs of an actor: as requested, or one if the cluster has any that the runtime can use."""
    if request.gpus is not None:
        return request.gpus
    on_cpu = request.settings["runtime"] in (RuntimeName.CPU.value, RuntimeName.WEBGPU.value)
    return 0.0 if on_cpu or not any(node.get("GPU", 0) >= 1 for node in nodes) else 1.0


def _cpus(nodes: Sequence[dict[str, float]], gpus: float) -> int:
    """CPUs of an actor, so that the actors of the smallest node share it."""
    shares = [n["CPU"] // max(int(n["GPU"] / gpus), 1) if gpus else n["CPU"] for n in nodes]
    return max(int(min(shares, default=1)), 1)
