"""The images of a viewer: what is known of each one, and the pixels of those shown last."""

from __future__ import annotations

import shlex
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clit_deploy.errors import CoordinateError, ImageError, MemoryBudgetError
from clit_deploy.images.image_files import open_image
from clit_deploy.system.files import check_file
from clit_deploy.viewer.open_image import OpenImage
from clit_deploy.viewer.pyramid import Pyramid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from clit_deploy.upscaler import Upscaler

KEPT = 3
"""Images that are decoded at the same time."""
FEATURES = 256_000_000
"""Bytes of features that an image keeps for each plan."""

Stamp = tuple[int, int]
"""When a file was changed, and its size."""


@dataclass(frozen=True)
class ShownImage:
    """What is known of an image file before it is decoded."""

    name: str
    path: Path
    pyramid: Pyramid
    stamp: Stamp
    alpha: bool
    """Whether the file has transparency."""
    temporary: bool
    """Whether the file is the viewer's own: then no command can name it."""

    @classmethod
    def of(cls, path: Path, name: str | None = None, *, temporary: bool = False) -> ShownImage:
        """Read the header of an image file.

        Raises:
            MissingFileError, ImageError: see `open_image`.
        """
        with open_image(path, srgb=True) as file:
            pyramid, alpha = Pyramid(file.header.size), file.header.alpha
        return cls(name or path.name, path, pyramid, _stamp(path), alpha, temporary)

    @property
    def argument(self) -> str | None:
        """The image as an argument of a shell command; None if that is not possible."""
        return None if self.temporary else shlex.quote(str(self.path))

    def check(self) -> None:
        """Refuse a file that is not the one that was shown at first.

        Raises:
            MissingFileError, ImageError: it vanished, or it has changed.
        """
        check_file(self.path, "image file")
        if _stamp(self.path) != self.stamp:
            raise ImageError(f"{self.name} has changed; start the viewer again.")


class Gallery:
    """Images by number. Several threads may use it at once.

    Args:
        plans: what enlarges the images.
    """

    def __init__(self, plans: Sequence[Upscaler]) -> None:
        self.plans = plans
        self._images: dict[int, ShownImage] = {}
        self._next = 0
        self._open: OrderedDict[int, OpenImage] = OrderedDict()
        self._changing = threading.Lock()
        self._opening = threading.Lock()  # decoding takes long, and no question waits for it

    @property
    def images(self) -> dict[int, ShownImage]:
        """All images by number, in the order in which they came."""
        with self._changing:
            return dict(self._images)

    def add(self, image: ShownImage) -> int:
        """Take an image in, and give it a number."""
        with self._changing:
            number, self._next = self._next, self._next + 1
            self._images[number] = image
            return number

    def remove(self, number: int) -> None:
        """Forget an image."""
        with self._changing:
            self._images.pop(number, None)
        with self._opening:
            if (found := self._open.pop(number, None)) is not None:
                found.close()

    def known(self, number: int) -> ShownImage:
        """An image by its number.

        Raises:
            CoordinateError: there is none.
        """
        with self._changing:
            if number not in self._images:
                raise CoordinateError(f"There is no image {number}.")
            return self._images[number]

    def open(self, number: int) -> OpenImage:
        """An image's pixels; those that were not shown for the longest time are forgotten.

        Raises:
            CoordinateError: there is no such image.
            MissingFileError, ImageError: its file vanished, changed, or is damaged.
            MemoryBudgetError: it does not fit into memory.
        """
        image = self.known(number)
        with self._opening:
            if number not in self._open:
                self._forget(KEPT - 1)
                self._open[number] = self._decoded(image)
            self._open.move_to_end(number)
            return self._open[number]

    def close(self) -> None:
        """Forget all pixels."""
        with self._opening:
            self._forget(0)

    def _decoded(self, image: ShownImage) -> OpenImage:
        image.check()
        limit = self.plans[0].max_memory
        with open_image(image.path, srgb=True) as file:
            try:
                pixels = file.decode(limit)
            except MemoryBudgetError:
                self._forget(0)
                pixels = file.decode(limit)
        return OpenImage(pixels, self.plans, FEATURES)

    def _forget(self, most: int) -> None:
        while len(self._open) > most:
            _, dropped = self._open.popitem(last=False)
            dropped.close()


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return found.st_mtime_ns, found.st_size
