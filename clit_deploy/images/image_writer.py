"""Image files on their way out, strip by strip."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from clit_deploy.images.image_formats import is_streamed
from clit_deploy.images.png import PngWriter
from clit_deploy.system.files import replacing
from clit_deploy.system.phases import phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import Size

OPTIONS = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"quality": 95}}


@contextmanager
def image_writer(
    path: Path, size: Size, channels: int
) -> Iterator[Callable[[NDArray[np.uint8]], None]]:
    """A function that appends rows `[n, W, channels]`; the file appears when all is written.

    PNG goes to disk row by row; other formats are held in memory as 8-bit pixels.

    Args:
        path: the output file.
        size: its height and width in pixels.
        channels: 1 (gray), 2 (gray and alpha), 3 (RGB) or 4 (RGB and alpha).

    Raises:
        OutputError: the folder is missing or not writable, or the disk is full.
    """
    with replacing(path) as part:
        if is_streamed(path):
            with part.open("wb") as file:
                png = PngWriter(file, size[1], size[0], channels)
                yield png.write
                with phase("write"):
                    png.close()
            return
        pixels = np.empty((*size, channels), np.uint8)
        row = 0

        def append(rows: NDArray[np.uint8]) -> None:
            nonlocal row
            pixels[row : row + len(rows)] = rows
            row += len(rows)

        yield append
        kind = Image.registered_extensions()[path.suffix.lower()]
        with phase("write"), part.open("wb") as file:
            Image.fromarray(pixels).save(file, kind, **OPTIONS.get(kind, {}))
