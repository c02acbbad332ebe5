"""`clit-deploy run`."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clit_deploy.cli.json_document import keep, plain, print_document
from clit_deploy.cli.options import (
    DefaultEngineOption,
    ForceOption,
    JsonOption,
    MemoryOption,
    RebuildOption,
    RuntimeOption,
    ThreadsOption,
)
from clit_deploy.cli.size_options import SizeOptions
from clit_deploy.cli.terminal import ProgressBar, terminal
from clit_deploy.cli.typed_values import may_be_decimal_comma
from clit_deploy.cli.workload import count, megapixels, output_pixels
from clit_deploy.config import RuntimeName
from clit_deploy.errors import OutputError
from clit_deploy.system.files import check_file

if TYPE_CHECKING:
    from clit_deploy.tasks.output_size import OutputSize
    from clit_deploy.tasks.upscale_file import UpscaleResult


def run(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE", help="Images to upscale.", show_default=False),
    ],
    engine: DefaultEngineOption = None,
    wanted: SizeOptions = SizeOptions(),  # noqa: B008  (frozen)
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="The result, or a folder for several.",
            show_default="beside the image",
        ),
    ] = None,
    runtime: RuntimeOption = RuntimeName.AUTO,
    threads: ThreadsOption = None,
    max_memory: MemoryOption = None,
    rebuild: RebuildOption = True,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Upscale images. Several scales make several files."""
    from clit_deploy.tasks.compression_hint import compression_hint
    from clit_deploy.tasks.upscale_file import upscale_file
    from clit_deploy.upscaler import load

    sizes = wanted.sizes()
    if may_be_decimal_comma(wanted.scale):
        terminal.note(
            f"'{(wanted.scale or [''])[0]}' means {len(sizes)} scales; write a point for a decimal."
        )
    work = _work(images, sizes, output, force=force)
    pixels = [output_pixels(image, size) for image, _, size in work]
    terminal.note(f"{count(len(work), 'image')} to make, {megapixels(sum(pixels))}")
    results: list[dict[str, Any]] = []
    keep(results=results)  # a failure later prints what was finished
    with load(
        engine, runtime=runtime, threads=threads, max_memory=max_memory, rebuild=rebuild
    ) as up:
        if hint := compression_hint(up.plan, images):
            terminal.note(hint)
        for (image, target, size), made in zip(work, pixels, strict=True):
            about = f"{image.name}, {megapixels(made)}"
            with ProgressBar(about) as progress:
                result = upscale_file(up, image, target, size, force=force, progress=progress)
            results.append({**plain(result), "runtime": up.runtime.name})
            if not as_json:
                typer.echo(_line(result, up.runtime.name))
    if as_json:
        print_document(results=results)


def _work(
    images: list[Path], sizes: list[OutputSize], output: Path | None, *, force: bool
) -> list[tuple[Path, Path, OutputSize]]:
    """Each image with its target and size; whatever is wrong with names is reported now.

    Raises:
        OptionError, MissingFileError, OutputError, OutputExistsError: see `targets`.
    """
    from clit_deploy.tasks.output_names import targets

    for image in images:
        check_file(image, "image file")
    if output is not None and len(sizes) > 1 and not output.is_dir():
        raise OutputError(errno.ENOTDIR, f"{output} is not a folder; several scales need one.")
    return [
        (image, target, wanted)
        for wanted in sizes
        for image, target in zip(images, targets(images, output, wanted, force=force), strict=True)
    ]


def _line(result: UpscaleResult, runtime: str) -> str:
    height, width = result.size
    return f"{result.output}  {width}x{height}  {result.seconds:.1f} s  {runtime}"
