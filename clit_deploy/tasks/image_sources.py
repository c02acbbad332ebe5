"""Which images are meant: files, folders, patterns, and lists of them."""

from __future__ import annotations

import glob
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clit_deploy.errors import MissingFileError
from clit_deploy.images.image_folders import images_below, images_in, is_image_name
from clit_deploy.system.files import check_file, is_file, is_folder, is_stream

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Source:
    """An image."""

    path: Path
    folder: Path | None = None
    """The folder that was named and holds the image; None if the image was named itself."""

    @property
    def place(self) -> Path:
        """The folder of the image, from the folder that was named."""
        return self.path.parent.relative_to(self.folder) if self.folder else Path()


def image_sources(
    names: Iterable[Path],
    listed: Iterable[Path] = (),
    *,
    recursive: bool = True,
    without: Path | None = None,
) -> list[Source]:
    """The images that paths and patterns mean, each once, in the order in which they are named.

    Args:
        names: images, folders, and patterns like `photos/*.png` that no shell has expanded.
        listed: the same from a list; one that leads nowhere is left to whoever reads it.
        recursive: take the sub-folders of folders, too.
        without: a folder that is passed over, because results go there.

    Raises:
        MissingFileError: a name leads nowhere, or a folder or pattern contains no images.
    """
    found: dict[Path, Source] = {}
    for name in names:
        for source in _sources(name, recursive=recursive, without=without):
            found.setdefault(source.path, source)
    for name in listed:
        is_there = is_folder(name) or is_file(name) or glob.has_magic(str(name))
        for source in (
            _sources(name, recursive=recursive, without=without) if is_there else [Source(name)]
        ):
            found.setdefault(source.path, source)
    return list(found.values())


def _sources(name: Path, *, recursive: bool, without: Path | None) -> list[Source]:
    if is_folder(name):
        paths = images_below(name, without=without) if recursive else images_in(name)
        if not paths:
            raise MissingFileError(f"The folder {name} contains no images.")
        return [Source(path, name) for path in paths]
    if is_file(name) or is_stream(name):
        return [Source(name)]
    if glob.has_magic(str(name)):
        matches = [Path(path) for path in sorted(glob.glob(str(name), recursive=True))]  # noqa: PTH207
        images = [path for path in matches if is_image_name(path.name) and is_file(path)]
        if not images:
            raise MissingFileError(f"No image matches {name}.")
        return [Source(path) for path in images]
    check_file(name, "image file")
    return [Source(name)]


def read_list(file: Path) -> list[Path]:
    """The paths of a list, one a line, or with zero bytes between them; `-` reads it from stdin.

    Raises:
        MissingFileError: there is no such file, or it is empty.
    """
    if str(file) == "-":
        content = sys.stdin.buffer.read()
    else:
        check_file(file, "list of images")
        content = file.read_bytes()
    parts = content.split(b"\0") if b"\0" in content else content.splitlines()
    paths = [Path(os.fsdecode(part)) for part in parts if part.strip()]
    if not paths:
        raise MissingFileError(f"The list {file} names no images.")
    return paths
