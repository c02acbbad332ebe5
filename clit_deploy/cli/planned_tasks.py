"""What `run` and `ray` are going to do, and notes about options that may mean something else."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from clit_deploy.cli.terminal import terminal
from clit_deploy.cli.typed_values import may_be_decimal_comma
from clit_deploy.cli.workload import image_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clit_deploy.cli.file_options import FileOptions
    from clit_deploy.images.image_options import ImageOptions
    from clit_deploy.tasks.image_sources import Source
    from clit_deploy.tasks.image_tasks import Task
    from clit_deploy.tasks.job_manifest import JobManifest
    from clit_deploy.tasks.output_size import OutputSize


def planned_tasks(
    sources: list[Source],
    sizes: list[OutputSize],
    files: FileOptions,
    options: ImageOptions,
    record: JobManifest | None,
) -> tuple[list[Task], list[Task]]:
    """What is to be done and what is left out; whatever is wrong with names is reported now.

    Raises:
        OutputError, OutputExistsError: see `output_tasks` and `check_tasks`.
    """
    from clit_deploy.tasks.image_tasks import check_tasks
    from clit_deploy.tasks.output_names import output_tasks
    from clit_deploy.tasks.result_format import result_suffix

    tasks = output_tasks(
        sources,
        sizes,
        files.output,
        in_place=files.in_place,
        size_of=functools.cache(image_size),
        extension=functools.cache(functools.partial(result_suffix, sizes=sizes, options=options)),
        shard=files.part(),
    )
    return check_tasks(
        tasks,
        force=files.force,
        in_place=files.in_place,
        skip_existing=files.skip_existing,
        record=record,
    )


def explain_comma(scale: list[str] | None, sizes: Sequence[OutputSize]) -> None:
    """Say it if a scale looks like a number with a decimal comma."""
    if may_be_decimal_comma(scale):
        terminal.note(
            f"'{(scale or [''])[0]}' means {len(sizes)} scales; write a point for a decimal."
        )


def explain_stretch(tasks: Sequence[Task]) -> None:
    """Say it once if --size changes the aspect of images by more than rounding."""
    stretched = [task for task in tasks if task.size and task.wanted.stretches(task.size)]
    if stretched:
        (height, width), name = stretched[0].size or (0, 0), stretched[0].source.name
        more = f" and {len(stretched) - 1} more" if len(stretched) > 1 else ""
        terminal.note(
            f"--size changes the aspect of {name} ({width}x{height}){more}, which stretches it; "
            "--fit and --fill keep the aspect."
        )
