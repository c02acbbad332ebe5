"""`clit-deploy run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clit_deploy.cli.batch_report import BatchReport
from clit_deploy.cli.encoding_options import EncodingOptions
from clit_deploy.cli.figure_options import FigureOptions, Preview
from clit_deploy.cli.file_options import FileOptions
from clit_deploy.cli.json_document import keep, one_line_each
from clit_deploy.cli.options import (
    DefaultEngineOption,
    ImagesArgument,
    JsonOption,
)
from clit_deploy.cli.planned_tasks import explain_comma, explain_stretch, planned_tasks
from clit_deploy.cli.running_options import RunningOptions
from clit_deploy.cli.size_options import SizeOptions
from clit_deploy.cli.terminal import ProgressBar, terminal
from clit_deploy.cli.workload import count, megapixels
from clit_deploy.system.files import make_folders
from clit_deploy.system.interrupts import Interrupted

if TYPE_CHECKING:
    from clit_deploy.images.image_options import ImageOptions
    from clit_deploy.tasks.image_tasks import Task
    from clit_deploy.tasks.job_manifest import JobManifest
    from clit_deploy.tasks.turns import Turn
    from clit_deploy.tasks.upscale_file import UpscaleResult
    from clit_deploy.upscaler import Upscaler


def run(
    images: ImagesArgument = None,
    engine: DefaultEngineOption = None,
    wanted: SizeOptions = SizeOptions(),  # noqa: B008  (frozen)
    files: FileOptions = FileOptions(),  # noqa: B008
    encoding: EncodingOptions = EncodingOptions(),  # noqa: B008
    figures: FigureOptions = FigureOptions(),  # noqa: B008
    where: RunningOptions = RunningOptions(),  # noqa: B008
    as_json: JsonOption = False,
) -> None:
    """Upscale images. Several images or scales make several files.

    In a folder, hidden files and files that are not images are passed over.
    An image that fails does not stop the others.
    """
    one_line_each()
    keep(results=[])
    files.check(images or [])
    sizes, options = wanted.sizes(), encoding.image_options()
    explain_comma(wanted.scale, sizes)
    sources = files.sources(images or [])
    if figures.preview is not None:
        preview = Preview.of(figures, sources, sizes, files)
        with where.load(engine) as up:
            preview.draw(up, force=files.force, as_json=as_json)
        return
    with files.record(engine, options) as record:
        tasks, skipped = planned_tasks(sources, sizes, files, options, record)
        _make(tasks, skipped, engine, files, options, figures, where, record, as_json=as_json)


def _make(
    tasks: list[Task],
    skipped: list[Task],
    engine: Path | None,
    files: FileOptions,
    options: ImageOptions,
    figures: FigureOptions,
    where: RunningOptions,
    record: JobManifest | None,
    *,
    as_json: bool,
) -> None:
    """Load the plan, and make all results."""
    figures.check_comparison(tasks, force=files.force)
    explain_stretch(tasks)
    pixels = sum(task.pixels for task in tasks)
    terminal.note(f"{count(len(tasks), 'image')} to make, {megapixels(pixels)}")
    report = BatchReport(tasks, skipped, as_json=as_json)
    make_folders({task.target.parent for task in (*tasks, *skipped)})
    if not tasks:
        return
    with where.load(engine) as up:
        _upscale(up, tasks, files, options, report, record)
        if figures.compare is not None:
            figures.draw_comparison(up, tasks[0])
    report.close()


def _upscale(
    up: Upscaler,
    tasks: list[Task],
    files: FileOptions,
    options: ImageOptions,
    report: BatchReport,
    record: JobManifest | None,
) -> None:
    """Do all tasks, and print and record what becomes of them."""
    from clit_deploy.tasks.batch import outcomes
    from clit_deploy.tasks.compression_hint import compression_hint
    from clit_deploy.tasks.shared_features import SharedFeatures
    from clit_deploy.tasks.upscale_file import upscale_file

    if hint := compression_hint(up.plan, list(dict.fromkeys(task.source for task in tasks))):
        terminal.note(hint)

    overwritten = {task for task in tasks if record and record.names(task)}
    if record is not None:
        record.plan(tasks)
    shared = SharedFeatures(task.source for task in tasks)

    def upscale(task: Task, turn: Turn) -> UpscaleResult:
        return upscale_file(
            up,
            task.source,
            task.target,
            task.wanted,
            options=options,
            force=files.force or files.in_place or task in overwritten,
            progress=report.progress(task),
            turn=turn,
            shared=shared,
            resume=files.resume,
        )

    about = f"{tasks[0].source.name}, {megapixels(sum(task.pixels for task in tasks))}"
    with ProgressBar(about) as bar:
        report.start(up.runtime.name, bar)
        try:
            for outcome in outcomes(tasks, upscale, up.max_memory):
                if record is not None:
                    record.add(outcome)
                report.add(outcome)
        except Interrupted:
            report.say_finished()
            raise
