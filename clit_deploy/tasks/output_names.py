"""Where the results of images go: beside them, into a folder, or by a template."""

from __future__ import annotations

import errno
import itertools
import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from clit_deploy.errors import OptionError, OutputError, OutputExistsError
from clit_deploy.images.image_formats import SUFFIXES
from clit_deploy.system.files import is_folder, is_stream
from clit_deploy.tasks.image_tasks import Task, check_names
from clit_deploy.tasks.output_template import TemplateFields, check_template, filled, is_template
from clit_deploy.tasks.shard import ALL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clit_deploy.grid.cascade import Size
    from clit_deploy.tasks.image_sources import Source
    from clit_deploy.tasks.output_size import OutputSize
    from clit_deploy.tasks.shard import Shard


STDOUT = Path("-")


def png(image: Path) -> str:  # noqa: ARG001
    """The extension of results if nothing else is known."""
    return ".png"


def output_tasks(
    sources: Sequence[Source],
    sizes: Sequence[OutputSize],
    output: str | None = None,
    *,
    in_place: bool = False,
    size_of: Callable[[Path], Size | None] = lambda _: None,
    extension: Callable[[Path], str] = png,
    shard: Shard = ALL,
) -> list[Task]:
    """Every image of a shard with its result, once for each size.

    Args:
        sources: the images.
        sizes: the requested sizes.
        output: a file, a folder, or a template with `FIELDS`; None writes beside an image, and for
            a folder into a folder beside it. Several results go to a folder, which may be missing.
        in_place: each result replaces its image.
        size_of: height and width of an image; a template may need it.
        extension: of the result of an image, with its point.
        shard: the part of the images; names and numbers are those that all of them would give.

    Raises:
        OptionError: a template with unknown fields, or options that cannot be combined.
        OutputError: several results would go to one file, or the folder is a file.
        OutputExistsError: two results have one name, or a result is one of the images.
    """
    several = len(sources) * len(sizes) > 1 or any(source.folder for source in sources)
    own = [source for position, source in enumerate(sources) if shard.has(position)]
    measured = {source.path: size_of(source.path) for source in own}
    if in_place:
        _check_in_place(output, sizes)
        return [Task(s.path, s.path, sizes[0], measured[s.path]) for s in own]
    if shard.count > 1:
        _check_all_shards(sources, sizes, output, several=several)
    namer = _Namer(sources, output, several=several, extension=extension)
    tasks = [
        Task(
            source.path,
            namer.target(source, wanted, size, number),
            wanted,
            size if size is not None and wanted.contains(size) else None,
            makes_folder=namer.makes_folder,
        )
        for number, (source, wanted) in enumerate(itertools.product(sources, sizes), 1)
        if source.path in measured
        for size in (measured[source.path],)
    ]
    check_names(tasks, [source.path for source in sources])
    return tasks


def _check_all_shards(
    sources: Sequence[Source], sizes: Sequence[OutputSize], output: str | None, *, several: bool
) -> None:
    """Refuse names that images of different shards may share.

    A shard reads its own images only, so names must differ whatever sizes the others have.
    """
    namer = _Namer(sources, output, several=several, extension=lambda path: path.suffix.lower())
    taken: dict[Path, Path] = {}
    for number, (source, wanted) in enumerate(itertools.product(sources, sizes), 1):
        target = namer.target(source, wanted, None, number)
        if target in taken:
            raise OutputExistsError(
                f"Two shards may write to the same file, the results of {taken[target]} and "
                f"{source.path}; name results with a template like "
                "'{folder}_{stem}_{scale}x.{ext}', or with {number}."
            )
        taken[target] = source.path


def _check_in_place(output: str | None, sizes: Sequence[OutputSize]) -> None:
    if output is not None:
        raise OptionError("--in-place and --output cannot be combined.")
    if sizes[0].region is not None:
        raise OptionError("--in-place and --region cannot be combined.")
    if len(sizes) > 1:
        raise OptionError("--in-place takes one scale: an image is replaced once.")


class _Namer:
    """Makes the names of results; images that would get the same one keep their old extension."""

    def __init__(
        self,
        sources: Sequence[Source],
        output: str | None,
        *,
        several: bool,
        extension: Callable[[Path], str],
    ) -> None:
        self._extension = extension
        self._template = output if output is not None and is_template(output) else None
        self._folder = self._file = None
        if output is not None and self._template is None:
            path = Path(output)
            if is_stream(path) and several:
                raise OutputError(
                    errno.ENOTDIR, f"{path} takes one result; name a folder for several."
                )
            if several or is_folder(path) or output.endswith(("/", os.sep)):
                _check_is_folder(path)
                self._folder = path
            else:
                self._file = path
        if self._template is not None:
            check_template(self._template)
        self.makes_folder = self._file is None
        self._alike = defaultdict(list)
        for source in sources:
            self._alike[self._key(source)].append(source.path)

    def target(self, source: Source, wanted: OutputSize, size: Size | None, number: int) -> Path:
        """The file for one result."""
        if self._file is not None:
            return self._file
        if self._template is None and self._folder is None and is_stream(source.path):
            return STDOUT  # nothing is beside a stream
        if self._template is not None:
            return Path(filled(self._template, self._fields(source, wanted, size, number)))
        label = wanted.label + wanted.place
        name = f"{self._stem(source)}_{label}{self._extension(source.path)}"
        if self._folder is not None:
            return self._folder / source.place / name
        if source.folder is not None:
            whole = source.folder.resolve()
            return _shown(whole.parent / f"{whole.name}_{label}") / source.place / name
        return source.path.parent / name

    def _key(self, source: Source) -> tuple[Path, str]:
        place = source.path.parent if source.folder or not self._folder else Path()
        return place, source.path.stem

    def _stem(self, source: Source) -> str:
        """The image's stem. Of several that differ in their extension only, the one that has the
        extension of the result keeps it as it is, and the others get theirs appended."""
        alike = self._alike[self._key(source)]
        if len(alike) == 1:
            return source.path.stem
        own, made = source.path.suffix.lower(), self._extension(source.path)
        if own != made and sum(self._extension(path) == made for path in alike) > 1:
            return f"{source.path.stem}_{own.removeprefix('.')}"
        return source.path.stem

    def _fields(
        self, source: Source, wanted: OutputSize, size: Size | None, number: int
    ) -> TemplateFields:
        known = size is not None and wanted.contains(size)
        height, width = wanted.output(size or (0, 0)) if known else (0, 0)
        factor = wanted.label.removeprefix("x")
        if wanted.scale is None and wanted.factors is None:
            shown = wanted.region[2] if wanted.region else (size or (0, 1))[1]
            factor = f"{width / shown:.3g}"
        return TemplateFields(
            stem=self._stem(source),
            ext=self._extension(source.path).removeprefix("."),
            scale=factor,
            size=f"{width}x{height}",
            width=width,
            height=height,
            folder=str(source.place) if source.folder else source.path.parent.name or ".",
            number=number,
        )


def _check_is_folder(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise OutputError(errno.ENOTDIR, f"{path} is not a folder; several results need one.")
    if not path.exists() and path.suffix.lower() in SUFFIXES:
        raise OutputError(
            errno.ENOTDIR,
            f"{path} is the name of a file; several results need a folder, or a template like "
            "'{stem}_{scale}x.{ext}'.",
        )


def _shown(path: Path) -> Path:
    """A path below the working folder as a relative one."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
