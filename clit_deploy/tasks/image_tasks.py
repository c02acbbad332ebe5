"""What is to be made from what, and whether it may be written."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from clit_deploy.errors import OutputError, OutputExistsError
from clit_deploy.system.files import check_writable, is_file, is_read_only

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from clit_deploy.grid.cascade import Size
    from clit_deploy.tasks.output_size import OutputSize


@dataclass(frozen=True)
class Task:
    """One image and one result."""

    source: Path
    target: Path
    wanted: OutputSize
    size: Size | None
    """Height and width of the image; None if its header cannot be read."""
    makes_folder: bool = False
    """Whether the folder of the result is made if it is missing."""

    @property
    def pixels(self) -> int:
        """Pixels of the result; 0 if nothing is known about the image."""
        if self.size is None:
            return 0
        height, width = self.wanted.output(self.size)
        return height * width


class Record(Protocol):
    """Knows what earlier runs have done."""

    def is_done(self, task: Task) -> bool:
        """Whether the result is finished, and still up to date."""

    def names(self, task: Task) -> bool:
        """Whether an earlier run wrote the result, or tried to."""


def check_tasks(
    tasks: Sequence[Task],
    *,
    force: bool,
    in_place: bool,
    skip_existing: bool,
    record: Record | None = None,
) -> tuple[list[Task], list[Task]]:
    """Check every output before the work begins.

    Args:
        tasks: the results.
        force: existing files may be overwritten.
        in_place: each result replaces its image.
        skip_existing: leave out results that exist.
        record: leave out what is done; what an earlier run wrote may be overwritten.

    Returns: what is to do, and what is skipped because its result exists.

    Raises:
        OutputExistsError, OutputError: a file that may not or cannot be written.
    """
    todo, skipped = [], []
    for task in tasks:
        if (skip_existing and is_file(task.target)) or (record and record.is_done(task)):
            skipped.append(task)
            continue
        if in_place and is_read_only(task.target) and not force:
            raise OutputError(
                errno.EACCES, f"{task.target} is read-only; use --force to replace it."
            )
        known = record is not None and record.names(task)
        check_writable(task.target, force=force or in_place or known, make_folder=task.makes_folder)
        todo.append(task)
    return todo, skipped


def check_names(tasks: Sequence[Task], images: Sequence[Path]) -> None:
    """Refuse results that would overwrite an image or one another.

    Args:
        tasks: the results.
        images: all images that were named, those that others work on included.

    Raises:
        OutputExistsError: one would.
    """
    inputs = {_identity(path) for path in images} - {None}
    taken: dict[Path, Task] = {}
    for task in tasks:
        place = task.target.resolve()
        if place in taken:
            raise OutputExistsError(
                f"Two of the images would be written to {task.target}, {taken[place].source} and "
                f"{task.source}; rename one, or use a template like '{{folder}}_{{stem}}.{{ext}}'."
            )
        taken[place] = task
        if _identity(task.target) in inputs:
            raise OutputExistsError(
                f"{task.target} is one of the images; --in-place replaces images by their results."
            )


def _identity(path: Path) -> tuple[int, int] | None:
    """What a file is, whatever it is called; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
