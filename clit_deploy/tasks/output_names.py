"""Where the results of images go."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from clit_deploy.errors import OutputError, OutputExistsError
from clit_deploy.system.files import check_writable

if TYPE_CHECKING:
    from pathlib import Path

    from clit_deploy.tasks.output_size import OutputSize


def default_output(image: Path, wanted: OutputSize) -> Path:
    """Beside the image, with the size in its name: `photo_x4.png`."""
    return image.parent / f"{image.stem}_{wanted.label}.png"


def targets(
    images: list[Path], output: Path | None, wanted: OutputSize, *, force: bool
) -> list[Path]:
    """Where each image goes: beside itself, into the folder `output`, or to the file `output`.

    Raises:
        OutputExistsError, OutputError: a file that may not or cannot be written, or two images
            with the same output file.
    """
    if output is not None and len(images) > 1 and not output.is_dir():
        raise OutputError(errno.ENOTDIR, f"{output} is not a folder; several images need one.")
    found: list[Path] = []
    for image in images:
        target = default_output(image, wanted)
        if output is not None:
            target = output / target.name if output.is_dir() else output
        if target in found:
            raise OutputExistsError(f"Two of the images would be written to {target}; rename one.")
        check_writable(target, force=force)
        found.append(target)
    return found
