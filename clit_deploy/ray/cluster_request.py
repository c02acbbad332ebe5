"""What `clit-deploy ray` requests from a cluster, and what comes back, as plain data."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clit_deploy.errors import ClitDeployError, ClusterError, printable

if TYPE_CHECKING:
    from pathlib import Path

    from clit_deploy.images.image_options import ImageOptions
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.tasks.image_tasks import Task


@dataclass(frozen=True)
class WorkerSettings:
    """What every actor needs."""

    plan: Plan
    options: ImageOptions
    runtime: str
    threads: int | None
    max_memory: str | None
    rebuild: bool
    device: str | None
    resume: bool


@dataclass(frozen=True)
class ClusterRequest:
    """Images for a cluster. Paths are absolute, because workers are in another folder."""

    address: str | None
    """`host:port` of the head; None for the cluster of this machine, which is started if needed."""
    actors: int | None
    gpus: float | None
    """GPUs of each actor; None decides by the cluster."""
    tiles: bool
    """Share the rows of each image."""
    plan: Path
    settings: dict[str, Any]
    """The fields of `WorkerSettings` but the plan."""
    tasks: tuple[Task, ...]


@dataclass(frozen=True)
class Started:
    """What the cluster gives."""

    actors: int
    nodes: int
    cpus: int
    """Of each actor, as well as `gpus`."""
    gpus: float


@dataclass(frozen=True)
class Done:
    """What became of one piece of work: a value or an error."""

    number: int
    value: Any = None
    error: Exception | None = None


def portable(error: BaseException) -> Exception:
    """An error that another process can load: one of this package, or one that names it."""
    if isinstance(error, ClitDeployError):
        try:
            return pickle.loads(pickle.dumps(error))  # type: ignore[no-any-return]  # noqa: S301
        except Exception:
            return ClusterError(str(error))
    if isinstance(error, MemoryError):
        return ClusterError("Out of memory on a worker; set --max-memory to what it has.")
    return ClusterError(f"Unexpected {type(error).__name__} on a worker: {printable(error, 500)}")
