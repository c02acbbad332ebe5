"""Bicubic on the left, the model on the right, each with a label above it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from clit_deploy.grid.geometry import Span
from clit_deploy.images.image_files import open_image
from clit_deploy.images.image_formats import check_format
from clit_deploy.images.image_writer import image_writer
from clit_deploy.images.pixels import to_bytes
from clit_deploy.render.layout import Block
from clit_deploy.system.files import check_writable

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import Size
    from clit_deploy.grid.geometry import Axis
    from clit_deploy.render.layout import Job

GAP = 10
"""Pixels around and between panels."""
TEXT = 14
HEADER = TEXT + 2 * GAP
ROWS = 128
"""Rows that are drawn at once, so that a large result is not held twice."""
REACH = 3
"""Pixels of the image around a region that bicubic resampling reads."""


class Sheet:
    """The geometry of two panels of one size, and what is drawn around them."""

    def __init__(self, panel: Size, labels: tuple[str, str]) -> None:
        self._panel, self._labels = panel, labels
        font = ImageFont.load_default(TEXT)
        widest = max(int(font.getlength(label)) + 1 for label in labels)
        self._column = max(panel[1], widest)
        self.size = (HEADER + panel[0] + GAP, 3 * GAP + 2 * self._column)

    def header(self) -> NDArray[np.uint8]:
        """The rows above the panels, `[HEADER, W, 3]`."""
        strip = Image.new("RGB", (self.size[1], HEADER), "white")
        draw = ImageDraw.Draw(strip)
        for column, label in enumerate(self._labels):
            left = GAP + column * (self._column + GAP)
            draw.text((left, GAP), label, "black", ImageFont.load_default(TEXT))
        return np.asarray(strip)

    def rows(self, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Rows `[n, w, 3]` of both panels in the sheet, `[n, W, 3]`."""
        strip = np.full((len(left), self.size[1], 3), 255, np.uint8)
        for column, part in enumerate((left, right)):
            start = GAP + column * (self._column + GAP)
            strip[:, start : start + self._panel[1]] = part
        return strip

    def footer(self) -> NDArray[np.uint8]:
        """The rows below the panels."""
        return np.full((GAP, self.size[1], 3), 255, np.uint8)


def bicubic_block(
    image: NDArray[np.generic], axes: tuple[Axis, Axis], block: Block
) -> NDArray[np.uint8]:
    """A block of what Pillow's bicubic filter makes of an image, `[rows, cols, 3]`.

    Args:
        image: `[h, w, 3]` of any type of `images.pixels`.
        axes: output pixels over image pixels, rows first.
        block: the part that is computed.
    """
    spans, boxes = [], []
    for axis, part in zip(axes, (block.rows, block.cols), strict=True):
        low, high = axis.extent(part)
        span = Span(int(low), -int(-high // 1)).grow(REACH, REACH).clip(axis.grid)
        spans.append(slice(span.start, span.stop))
        boxes.append((low - span.start, high - span.start))
    (top, bottom), (left, right) = boxes
    near = Image.fromarray(to_bytes(image[spans[0], spans[1]]))
    # Pillow takes the axis first that saves more work, and rounds between: blocks would differ.
    bicubic, width = Image.Resampling.BICUBIC, len(block.cols)
    wide = near.resize((width, near.height), bicubic, (left, 0, right, near.height))
    return np.asarray(wide.resize((width, len(block.rows)), bicubic, (0, top, width, bottom)))


def write_sheet(
    target: Path,
    image: NDArray[np.generic],
    made: NDArray[np.generic],
    job: Job,
    labels: tuple[str, str],
) -> None:
    """Draw an image's bicubic resampling beside what the model made.

    Args:
        target: the file.
        image: `[h, w, 3]`.
        made: the job's part of the output, `[H, W, 3]`; both have any type of `images.pixels`.
        job: from what to what.
        labels: of the left and the right panel.

    Raises:
        OutputError: the folder is missing or not writable, or the disk is full.
    """
    sheet = Sheet(job.made, labels)
    part = job.part
    with image_writer(target, sheet.size, 3) as append:
        append(sheet.header())
        for rows in Span(0, len(made)).split(ROWS):
            top = part.rows.start
            block = Block(Span(top + rows.start, top + rows.stop), part.cols)
            plain = bicubic_block(image, job.axes, block)
            append(sheet.rows(plain, to_bytes(made[rows.start : rows.stop])))
        append(sheet.footer())


def check_sheet(target: Path, job: Job, labels: tuple[str, str], *, force: bool) -> None:
    """Check the file of a figure before the work begins.

    Raises:
        OutputExistsError, OutputError, SizeError: it may not or cannot be written.
    """
    check_writable(target, force=force)
    check_format(target, Sheet(job.made, labels).size, alpha=False)


def compare_files(
    source: Path,
    result: Path,
    target: Path,
    job: Job,
    labels: tuple[str, str],
    max_memory: int | None = None,
) -> None:
    """Draw the bicubic resampling of a whole image beside a result that is already written.

    Args:
        source: the image.
        result: the file that `upscale_file` has written.
        target: the figure.
        job: from what to what.
        labels: of the left and the right panel.
        max_memory: bytes that the process may hold; None takes what the machine has available.

    Raises:
        MemoryBudgetError: the decoded result does not fit.
        OutputError: the folder is missing or not writable, or the disk is full.
    """
    with open_image(result) as file:
        made = file.decode(max_memory).rgb
    with open_image(source) as file:
        image = file.decode(max_memory).rgb
    write_sheet(target, image, made, job, labels)
