"""One result in bands of rows that several processes make, and the file that they become.

A band is what lies on one row of encoder tiles, so nothing is encoded twice. The rows of a band are
those that one process would compute, because the work is cut in the same way. Bands are kept in
files beside the result, `RESULT.bands/0.rows`, until it is written; a run that was killed goes on
from them.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clit_deploy.errors import ResumeError
from clit_deploy.images.image_files import open_image
from clit_deploy.images.image_formats import lossless_like
from clit_deploy.images.image_writer import image_writer
from clit_deploy.render.layout import Layout
from clit_deploy.system import interrupts
from clit_deploy.system.files import file_digest
from clit_deploy.tasks.file_rendering import FileRendering
from clit_deploy.tasks.finished_strips import Result, finished_strips
from clit_deploy.tasks.row_journal import kept_rows
from clit_deploy.tasks.upscale_file import UpscaleResult, described

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np

    from clit_deploy.grid.geometry import Span
    from clit_deploy.images.image_options import ImageOptions
    from clit_deploy.tasks.image_tasks import Task
    from clit_deploy.tasks.row_journal import RowJournal
    from clit_deploy.upscaler import Upscaler


@dataclass(frozen=True)
class Cut:
    """How a result is cut into bands."""

    task: Task
    identity: dict[str, Any]
    """What decides its rows, see `FileRendering.identity`."""
    bands: tuple[Span, ...]
    """Rows of the output, from top to bottom."""
    result: UpscaleResult
    """Of the whole; its seconds are those of the cut."""

    @property
    def layout(self) -> Layout:
        """The sides of tile and block."""
        tile, block = self.identity["layout"]
        return Layout(tile, block)


def bands_folder(target: Path) -> Path:
    """Where the bands of a result are kept."""
    return target.with_name(f"{target.name}.bands")


def cut_image(up: Upscaler, task: Task, options: ImageOptions) -> Cut:
    """Decide how a result is cut: like the bands that are there, or as memory allows.

    Raises:
        ResumeError: bands of another run are there.
        ClitDeployError: see `upscale_file`; everything that can be known from the header.
    """
    start = time.perf_counter()
    with open_image(task.source, srgb=options.srgb) as file, _head(task.target) as journal:
        file.allow_rolling()
        options = lossless_like(options, file.header, task.target)
        making = FileRendering(up, task.source, task.target, task.wanted, options)
        rendering = making.preparation(file.header, journal.layout, None)()
        if journal.layout is not None:
            making.check_continued(rendering)
        result = Result.of(task.target, file.header, options)
        identity = making.identity(rendering, result, file_digest(task.source))
        journal.begin(identity)
    return Cut(
        task,
        identity,
        tuple(rendering.bands()),
        described(making, rendering, time.perf_counter() - start),
    )


def make_band(up: Upscaler, cut: Cut, number: int, options: ImageOptions) -> None:
    """Compute the rows of a band that are missing, and keep them.

    Raises:
        ResumeError: this process would compute other rows, or the kept ones are of another run.
        ClitDeployError: see `upscale_file`.
    """
    task, span = cut.task, cut.bands[number]
    with open_image(task.source, srgb=options.srgb) as file, _band(cut, number) as journal:
        missing = len(span) - journal.finished
        if not missing:
            return
        file.allow_rolling()
        options = lossless_like(options, file.header, task.target)
        making = FileRendering(up, task.source, task.target, task.wanted, options)
        rendering = making.preparation(file.header, cut.layout, None)()
        result = Result.of(task.target, file.header, options)
        _check_same(cut, making.identity(rendering, result, cut.identity["image"]))
        image = file.decode(up.max_memory)
        for rows in finished_strips(rendering, image, result, finished=span.stop - missing):
            journal.append(rows)
            if journal.finished >= len(span):
                break


def join_bands(cut: Cut, options: ImageOptions) -> None:
    """Write the result from its bands, and remove them.

    Raises:
        ResumeError: a band is missing or damaged.
        OutputError: the result cannot be written.
    """
    task = cut.task
    with _head(task.target) as journal, open_image(task.source, srgb=options.srgb) as file:
        journal.begin(cut.identity)
        file.allow_rolling()
        options = lossless_like(options, file.header, task.target)
        result = Result.of(task.target, file.header, options)
        made = cut.result.size
        metadata = file.decode().metadata.for_result(made, strip=options.strip)
        writer = image_writer(
            task.target,
            made,
            result.channels,
            dtype=result.dtype,
            metadata=metadata,
            options=options,
        )
        with writer as append:
            for number, span in enumerate(cut.bands):
                with _band(cut, number) as band:
                    for rows in band.completed(_missing, (len(span), made[1]), result):
                        append(rows)
    _remove(task.target, len(cut.bands))


def _missing(finished: int) -> Iterator[np.ndarray[Any, Any]]:
    raise ResumeError(f"A band ends after {finished} rows; repeat the command to go on.")


@contextlib.contextmanager
def _head(target: Path) -> Iterator[RowJournal]:
    """The file that says what the bands of a result belong to."""
    folder = bands_folder(target)
    folder.mkdir(exist_ok=True)
    interrupts.keep(folder)
    busy = f"Another process works on {target}; wait for it, or stop it."
    try:
        with kept_rows(folder / "run", busy) as journal:
            yield journal
    except BaseException:
        with contextlib.suppress(OSError):  # bands are kept in it
            folder.rmdir()
        raise


@contextlib.contextmanager
def _band(cut: Cut, number: int) -> Iterator[RowJournal]:
    """The rows of a band that are there."""
    path = bands_folder(cut.task.target) / f"{number}.rows"
    busy = f"Another process makes band {number} of {cut.task.target}; wait for it, or stop it."
    with kept_rows(path, busy) as journal:
        span = cut.bands[number]
        journal.begin({**cut.identity, "band": [span.start, span.stop]})
        yield journal


def _check_same(cut: Cut, own: dict[str, Any]) -> None:
    other = [name for name, value in own.items() if cut.identity[name] != value]
    if other:
        raise ResumeError(
            f"This process would compute other rows of {cut.task.target} than the one that cut it "
            f"({', '.join(other)} differ); use the same --runtime and version on all nodes."
        )


def _remove(target: Path, bands: int) -> None:
    folder = bands_folder(target)
    for name in ("run", *(f"{number}.rows" for number in range(bands))):
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # somebody put a file there
        folder.rmdir()
    interrupts.forget(folder)
