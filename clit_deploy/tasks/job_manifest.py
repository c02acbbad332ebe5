"""What became of every result, one line of JSON each, so that a second run does only what is left.

    {"input": "a.png", "output": "a_x4.png", "digest": "5f...", "size": "x4", "status": "done",
     "error": null, "milliseconds": 812, "pixels": 1048576, "input_bytes": 6021,
     "input_modified_ns": 1795000000000000000}

A later line about a result replaces the ones before. A run begins with a line of status "planned"
for whatever it is going to do, so that the next one knows the results of a run that was killed.
Files of several shards may be joined.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import TYPE_CHECKING, Any, BinaryIO

from clit_deploy.errors import ManifestError, OutputError, error_message
from clit_deploy.system.files import is_file, locked_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from clit_deploy.images.image_options import ImageOptions
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.tasks.batch import Outcome
    from clit_deploy.tasks.image_tasks import Task


class JobManifest:
    """The lines of a manifest; use `job_manifest`.

    Args:
        file: open for reading and writing, and locked.
        path: its name.
        digest: of the plan and the options.

    Raises:
        ManifestError: a line is not one of a manifest, or belongs to another plan or options.
    """

    def __init__(self, file: BinaryIO, path: Path, digest: str) -> None:
        self._file, self._path, self._digest = file, path, digest
        self._lines: dict[str, dict[str, Any]] = {}
        end = 0
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break  # a kill cut it off
            self._take(line, number)
            end += len(line)
        file.truncate(end)
        file.seek(end)

    def is_done(self, task: Task) -> bool:
        """Whether the result was finished, is there, and its image has not changed since."""
        line = self._lines.get(str(task.target))
        if line is None or line["status"] != "done" or not is_file(task.target):
            return False
        return all(line.get(name) == value for name, value in _about(task).items())

    def names(self, task: Task) -> bool:
        """Whether an earlier run wrote the result, or tried to."""
        return str(task.target) in self._lines

    def plan(self, tasks: Iterable[Task]) -> None:
        """Append what is going to be done.

        Raises:
            OutputError: the file cannot be written.
        """
        self._append(*({**_about(task), "status": "planned"} for task in tasks))

    def add(self, outcome: Outcome) -> None:
        """Append what became of a task.

        Raises:
            OutputError: the file cannot be written.
        """
        result, error = outcome.result, outcome.error
        self._append(
            {
                **_about(outcome.task),
                "status": "done" if error is None else "failed",
                "error": None if error is None else error_message(error),
                "milliseconds": None if result is None else round(result.seconds * 1000),
                "pixels": None if result is None else result.size[0] * result.size[1],
            }
        )

    def _append(self, *lines: dict[str, Any]) -> None:
        text = "".join(json.dumps({**line, "digest": self._digest}) + "\n" for line in lines)
        try:
            self._file.write(text.encode())
            self._file.flush()
        except OSError as error:
            raise OutputError(
                error.errno, f"{self._path} cannot be written: {error.strerror}."
            ) from error

    def _take(self, line: bytes, number: int) -> None:
        try:
            found = json.loads(line)
            output, digest, _ = found["output"], found["digest"], found["status"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise ManifestError(
                f"Line {number} of {self._path} is not one of a manifest; name another file, or "
                "remove that line."
            ) from None
        if digest != self._digest:
            raise ManifestError(
                f"{self._path} belongs to another plan or other options (line {number}); name "
                "another file, or delete it to do everything again."
            )
        self._lines[output] = found


def _about(task: Task) -> dict[str, Any]:
    """What identifies a result and the state of its image."""
    try:
        state = task.source.stat()
    except OSError:  # whoever reads the image reports it
        state = None
    return {
        "input": str(task.source),
        "output": str(task.target),
        "size": task.wanted.label + task.wanted.place,
        "input_bytes": state and state.st_size,
        "input_modified_ns": state and state.st_mtime_ns,
    }


@contextlib.contextmanager
def job_manifest(path: Path, plan: Plan, options: ImageOptions) -> Iterator[JobManifest]:
    """A manifest, which is made if there is none.

    Raises:
        ManifestError: see `JobManifest`.
        OutputError: it cannot be written, or another process writes it.
    """
    digest = hashlib.sha256(f"{plan.digest} {options}".encode()).hexdigest()
    busy = f"Another process writes {path}; each shard needs a manifest of its own."
    with locked_file(path, busy) as file:
        yield JobManifest(file, path, digest)
