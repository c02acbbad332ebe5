"""Image files on their way out, strip by strip."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from clit_deploy.images.bmp import BmpWriter
from clit_deploy.images.image_formats import format_of
from clit_deploy.images.image_options import DEFAULT, ImageOptions
from clit_deploy.images.metadata import Metadata
from clit_deploy.images.png import PngWriter, chunks_of
from clit_deploy.images.vips_writer import VipsWriter
from clit_deploy.system.files import replacing
from clit_deploy.system.phases import phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import Size

NOTHING = Metadata()


@contextmanager
def image_writer(
    path: Path,
    size: Size,
    channels: int,
    *,
    dtype: np.dtype[Any] | type = np.uint8,
    metadata: Metadata = NOTHING,
    options: ImageOptions = DEFAULT,
) -> Iterator[Callable[[NDArray[Any]], None]]:
    """A function that appends rows `[n, W, channels]`; the file appears when all is written.

    PNG, JPEG and TIFF go to disk row by row; encoders of the other formats hold the image.

    Args:
        path: the output file.
        size: its height and width in pixels.
        channels: 1 (gray), 2 (gray and alpha), 3 (RGB) or 4 (RGB and alpha).
        dtype: of the rows: uint8, uint16, or float32 from 0 to 1.
        metadata: what the file says beside its pixels.
        options: quality and the like.

    Raises:
        OutputError: the folder is missing or not writable, or the disk is full.
    """
    form, kind = format_of(path), np.dtype(dtype)
    with replacing(path) as part:
        if form.name not in ("PNG", "BMP"):
            writer = VipsWriter(part, form, size, channels, kind, metadata, options)
            try:
                yield writer.write
                with phase("write"):
                    writer.close()
            finally:
                writer.abandon()
            return
        with part.open("wb") as file:
            if form.name == "BMP":
                rows: BmpWriter | PngWriter = BmpWriter(file, size)
            else:
                chunks = chunks_of(metadata)
                rows = PngWriter(file, size[1], size[0], channels, kind.type, chunks)
            yield rows.write
            with phase("write"):
                rows.close()
