"""Options of `run` that draw a result beside bicubic."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from clit_deploy.cli.json_document import plain, print_document
from clit_deploy.cli.terminal import terminal
from clit_deploy.cli.typed_values import parse_region
from clit_deploy.errors import OptionError
from clit_deploy.system.files import check_writable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clit_deploy.cli.file_options import FileOptions
    from clit_deploy.tasks.image_sources import Source
    from clit_deploy.tasks.image_tasks import Task
    from clit_deploy.tasks.output_size import OutputSize
    from clit_deploy.upscaler import Upscaler


@dataclass(frozen=True)
class FigureOptions:
    """Figures of one image."""

    PANEL: ClassVar[str] = "Before and after"

    preview: Annotated[
        str | None,
        typer.Option(
            "--preview",
            metavar="X,Y[,SIDE]",
            help="Render only the region around this pixel of the image, and draw it beside "
            "bicubic.",
        ),
    ] = None
    compare: Annotated[
        Path | None,
        typer.Option(
            "--compare", metavar="FILE", help="Draw the whole result beside bicubic, too."
        ),
    ] = None

    def check_comparison(self, tasks: Sequence[Task], *, force: bool) -> None:
        """Check --compare before the work begins.

        Raises:
            OptionError: there are several results.
            OutputError, OutputExistsError: the file may not or cannot be written.
        """
        if self.compare is None:
            return
        if len(tasks) != 1:
            raise OptionError(f"--compare draws one result, and there are {len(tasks)}.")
        check_writable(self.compare, force=force)

    def draw_comparison(self, up: Upscaler, task: Task) -> None:
        """Draw --compare, for a result that is written."""
        from clit_deploy.tasks.side_by_side import compare_files

        if self.compare is None or task.size is None:
            return
        job = task.wanted.job(up.renderer, task.size)
        factor = f"x{job.scale:.3g}"
        labels = f"bicubic, {factor}", f"{up.plan.name}, {factor}"
        compare_files(task.source, task.target, self.compare, job, labels, up.max_memory)
        terminal.note(f"{self.compare} shows bicubic and {task.target.name} side by side")


@dataclass(frozen=True)
class Preview:
    """A region of one image, and the figure of it."""

    source: Path
    target: Path
    wanted: OutputSize
    at: tuple[int, int]
    side: int | None

    @classmethod
    def of(
        cls,
        options: FigureOptions,
        sources: Sequence[Source],
        sizes: Sequence[OutputSize],
        files: FileOptions,
    ) -> Preview:
        """What `--preview` means.

        Raises:
            OptionError: there are several images or sizes, or the region is not valid.
        """
        at, side = parse_region(options.preview or "")
        if len(sources) * len(sizes) > 1:
            raise OptionError("--preview draws one region; name one image and one size.")
        others = {
            "--compare": options.compare is not None,
            "--in-place": files.in_place,
            "--region": sizes[0].region is not None,
        }
        for other in (name for name, given in others.items() if given):
            raise OptionError(f"--preview and {other} cannot be combined.")
        source = sources[0].path
        beside = source.with_name(f"{source.stem}_preview.png")
        target = Path(files.output) if files.output else beside
        return cls(source, target, sizes[0], at, side)

    def draw(self, up: Upscaler, *, force: bool, as_json: bool) -> None:
        """Render and draw it, and print the result."""
        from clit_deploy.tasks.preview_figure import preview_file

        result = preview_file(
            up, self.source, self.target, self.wanted, self.at, self.side, force=force
        )
        height, width = result.size
        if as_json:
            print_document(results=[{**plain(result), "runtime": up.runtime.name}])
        else:
            terminal.result(
                f"{result.output}  {width}x{height}  {result.seconds:.1f} s  {up.runtime.name}"
            )
