"""The images of folders: which files are taken, and which are passed over."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from clit_deploy.images.image_formats import SUFFIXES
from clit_deploy.system.files import check_folder, is_file

if TYPE_CHECKING:
    from collections.abc import Sequence

EXTENSIONS = {*SUFFIXES, ".heic", ".heif", ".jfif", ".jp2", ".ppm", ".pgm", ".pbm", ".tga"}
"""Of files that are taken for images in a folder. A file that is named itself may have any."""


def is_image_name(name: str) -> bool:
    """Whether a file of a folder is taken for an image.

    Hidden files are not: `._photo.png` is what macOS keeps beside `photo.png`.
    """
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS  # noqa: PTH122


def images_in(source: Path | Sequence[Path]) -> list[Path]:
    """The images of a folder, by name, or an image itself; of several, one after the other.

    Raises:
        MissingFileError: a path leads nowhere.
    """
    if not isinstance(source, Path):
        return [image for one in source for image in images_in(one)]
    if is_file(source):
        return [source]
    check_folder(source)
    return sorted(path for path in source.iterdir() if is_image_name(path.name) and is_file(path))


def images_below(folder: Path, *, without: Path | None = None) -> list[Path]:
    """The images of a folder and of its sub-folders, by path.

    Hidden folders and folders that are links are passed over.

    Args:
        folder: where to look.
        without: a folder that is passed over as well.
    """
    found: list[Path] = []
    passed_over = without.resolve() if without is not None else None
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and (here / name).resolve() != passed_over
        )
        found += [here / name for name in names if is_image_name(name) and is_file(here / name)]
    return sorted(found)


def source_name(source: Path | Sequence[Path]) -> str:
    """Images in words, for messages: the folder, or the first of several paths."""
    if isinstance(source, Path):
        return source.resolve().name
    more = f" and {len(source) - 1} more" if len(source) > 1 else ""
    return f"{source[0].resolve().name}{more}"
