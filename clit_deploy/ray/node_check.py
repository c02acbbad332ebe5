"""Whether every node can do the work: the same version, and the same files under the same paths."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from clit_deploy._version import __version__
from clit_deploy.errors import ClusterError, OutputError, printable
from clit_deploy.system.files import is_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from clit_deploy.tasks.image_tasks import Task

MOST = 50
"""Folders of images and of results that are looked at."""
PATIENCE = 60
"""Seconds that a node may take to answer."""


def check_nodes(nodes: Iterable[dict[str, Any]], tasks: Sequence[Task]) -> None:
    """Ask every node at once.

    Args:
        nodes: of `ray.nodes()`.
        tasks: what is going to be done; the folders of the results exist.

    Raises:
        ClusterError: a node lacks something; the message names the node and the path.
        OutputError: a folder of results cannot be written here.
    """
    images = list({task.source.parent: task.source for task in tasks}.values())[:MOST]
    images = [image for image in images if is_file(image)]
    folders = list(dict.fromkeys(task.target.parent for task in tasks))[:MOST]
    with _marks(folders) as marks:
        asked = {
            node["NodeManagerAddress"]: ray.remote(_report)
            .options(
                num_cpus=0,
                max_retries=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
            )
            .remote(images, marks)
            for node in nodes
        }
        for name, answer in asked.items():
            _check(name, answer)


def _check(node: str, answer: Any) -> None:
    try:
        version, lacking, read_only = ray.get(answer, timeout=PATIENCE)
    except Exception as error:  # of Ray, or of a node whose Python lacks the package
        raise ClusterError(
            f"Node {node} does not answer as it should; install clit-deploy {__version__} with "
            f"the extra ray there. It says: {_cause(error)}"
        ) from error
    if version != __version__:
        raise ClusterError(
            f"Node {node} has clit-deploy {version}, and this machine {__version__}; install the "
            "same version on all nodes."
        )
    if lacking is not None:
        raise ClusterError(
            f"Node {node} does not have {lacking}. Images and results must be on a file system "
            "that all nodes share, under the same paths."
        )
    if read_only is not None:
        raise ClusterError(f"Node {node} cannot write into {read_only}; check its mount options.")


def _report(images: list[Path], marks: list[Path]) -> tuple[str, Path | None, Path | None]:
    """The version of this node, the first path that it lacks, and the first read-only folder."""
    folders = [mark.parent for mark in marks]
    lacking = [image for image in images if not is_file(image)]
    lacking += [mark.parent for mark in marks if not is_file(mark)]
    read_only = [folder for folder in folders if not os.access(folder, os.W_OK)]
    return __version__, next(iter(lacking), None), next(iter(read_only), None)


@contextlib.contextmanager
def _marks(folders: Sequence[Path]) -> Iterator[list[Path]]:
    """A file with a new name in each folder: an equal folder that is not shared lacks it."""
    with contextlib.ExitStack() as stack:
        marks = []
        for folder in folders:
            try:
                mark = tempfile.NamedTemporaryFile(dir=folder, prefix=".clit-deploy-")  # noqa: SIM115
            except OSError as error:
                raise OutputError(
                    error.errno, f"{folder} cannot be written: {error.strerror}."
                ) from error
            marks.append(Path(stack.enter_context(mark).name))
        yield marks


def _cause(error: BaseException) -> str:
    """The last line of what a worker raised, without its traceback."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return printable(lines[-1] if lines else type(error).__name__, 200)
