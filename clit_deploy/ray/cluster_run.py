"""Images on a Ray cluster, as the command sees it: a request goes out, outcomes come in."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import threading
from queue import Empty, Queue
from typing import IO, TYPE_CHECKING, Any

from clit_deploy.errors import ClusterError, MissingDependencyError, OptionError, printable
from clit_deploy.system import interrupts
from clit_deploy.system.extras import install_command
from clit_deploy.system.files import is_stream
from clit_deploy.tasks.batch import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from clit_deploy.ray.cluster_request import ClusterRequest, Started
    from clit_deploy.tasks.image_tasks import Task

PATIENCE = 3.0
"""Seconds in which a head has to accept a connection; Ray itself would try for minutes."""
LOST = object()
"""After the last answer of a process."""
ENTRY = "from clit_deploy.ray.cluster_process import main; main()"
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0", "PYTHONSAFEPATH": "1"}
"""Ray sends no usage data unless the environment says otherwise."""


def check_ray() -> None:
    """Whether Ray is installed, without importing it.

    Raises:
        MissingDependencyError: it is not.
    """
    if missing := [name for name in ("ray", "pyarrow", "pandas") if not _is_installed(name)]:
        raise MissingDependencyError(
            f"This command needs {missing[0]}, which is not installed; install it with "
            f"{install_command('ray')}."
        )


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def chosen_address(address: str | None) -> str | None:
    """The head that is meant: as named, or as `RAY_ADDRESS` says; None for this machine.

    Raises:
        OptionError: an address of another kind.
        ClusterError: nothing accepts connections there.
    """
    found = address or os.environ.get("RAY_ADDRESS") or None
    if found in (None, "auto", "local"):
        return found
    host, colon, port = found.rpartition(":")
    if "://" in found or not colon or not host or not port.isdecimal():
        raise OptionError(
            f"'{printable(found, 200)}' is not the address of a Ray head; write it like "
            "10.0.0.1:6379. Run the command on a machine of the cluster, or with 'ray job submit'."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or printable(error, 200)
        raise ClusterError(
            f"No Ray head answers at {printable(found, 200)} ({reason}). Start one with 'ray start "
            "--head', and run the command on a machine that reaches it."
        ) from error
    return found


def check_files(tasks: Sequence[Task]) -> None:
    """Refuse what workers cannot read or write.

    Raises:
        OptionError: an image or a result is a stream.
    """
    for path in (path for task in tasks for path in (task.source, task.target)):
        if is_stream(path):
            raise OptionError(f"A cluster needs files, and {path} is a stream.")


def cluster_outcomes(
    request: ClusterRequest,
    started: Callable[[Started], None],
    progress: Callable[[Task], Callable[[float], None] | None],
) -> Iterator[Outcome]:
    """Do all tasks on the cluster, and yield what became of each as it is finished.

    Args:
        request: its tasks may have relative paths, and the outcomes have them as well.
        started: called with what the cluster has.
        progress: gives the function that is called with the part of a task that is done.

    Raises:
        ClusterError: the cluster cannot be used, or was lost.
        ClitDeployError: the plan cannot be read.
        Interrupted: a signal asked the work to stop.
    """
    tasks = request.tasks
    shipped = tuple(
        dataclasses.replace(task, source=task.source.absolute(), target=task.target.absolute())
        for task in tasks
    )
    request = dataclasses.replace(request, plan=request.plan.absolute(), tasks=shipped)
    finished = 0
    with _process(request) as (answers, log):
        started(_answer(answers, log, finished))
        while (answer := _answer(answers, log, finished)) is not None:
            if isinstance(answer, tuple):
                number, part = answer
                if move := progress(tasks[number]):
                    move(part)
                continue
            finished += answer.error is None
            yield _outcome(tasks[answer.number], answer)


def _outcome(task: Task, done: Any) -> Outcome:
    if done.error is not None:
        return Outcome(task, error=done.error)
    named = dataclasses.replace(done.value, input=str(task.source), output=str(task.target))
    return Outcome(task, named)


@contextlib.contextmanager
def _process(request: ClusterRequest) -> Iterator[tuple[Queue[Any], IO[bytes]]]:
    """The process that talks to Ray: its answers and its log. It ends with the block."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603  (our own Python)
            [sys.executable, "-c", ENTRY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the command, which ends this process
            env={**QUIET, **os.environ},
        )
        assert process.stdin is not None  # noqa: S101  (they are pipes)
        assert process.stdout is not None  # noqa: S101
        answers: Queue[Any] = Queue()
        threading.Thread(target=_read, args=(process.stdout, answers), daemon=True).start()
        try:
            with contextlib.suppress(BrokenPipeError):  # `_answer` reports it
                pickle.dump(request, process.stdin)
                process.stdin.flush()
            yield answers, log
        finally:
            with contextlib.suppress(OSError):
                process.stdin.close()  # which ends it, also if nobody waits
            if not interrupts.requested():
                _wait(process)


def _wait(process: subprocess.Popen[bytes]) -> None:
    """Let Ray shut down; the process ends itself if that takes long."""
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _read(pipe: IO[bytes], answers: Queue[Any]) -> None:
    """All answers of the process, then `LOST`, on a thread that signals do not wait for."""
    with pipe, contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
        while True:
            answers.put(pickle.load(pipe))  # noqa: S301  (our own process's)
    answers.put(LOST)


def _answer(answers: Queue[Any], log: IO[bytes], finished: int) -> Any:
    """The next answer; None at the end.

    Raises:
        ClusterError: the process ended without a word.
        Exception: what it answered with.
    """
    while True:
        interrupts.check()
        with contextlib.suppress(Empty):
            answer = answers.get(timeout=interrupts.POLL)
            break
    if answer is LOST:
        raise ClusterError(
            f"The connection to Ray was lost{_reason(log)}. {finished} results of this run are "
            "finished; when the cluster is up again, the same command with --manifest or "
            "--skip-existing does the others."
        )
    if isinstance(answer, Exception):
        raise answer
    return answer


def _reason(log: IO[bytes]) -> str:
    """What Ray said last."""
    log.seek(0)
    lines = log.read().decode(errors="replace").splitlines()
    fatal = [line for line in lines if "GCS" in line or "Error" in line]
    text = fatal[-1].rpartition("] ")[2].partition(". ")[0] if fatal else ""
    return f" ({printable(text, 200)})" if text else ""
