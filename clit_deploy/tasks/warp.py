"""Affine and perspective resampling of an image file; every color comes from the network."""

from __future__ import annotations

import dataclasses
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.errors import CoordinateError, SizeError
from clit_deploy.grid.cascade import LARGEST_SCALE
from clit_deploy.grid.geometry import NOISE, Span
from clit_deploy.images.image_files import open_image
from clit_deploy.images.image_formats import check_format, held_per_pixel
from clit_deploy.images.image_writer import image_writer
from clit_deploy.render.bilinear import bilinear_at
from clit_deploy.render.coordinates import output_of
from clit_deploy.render.layout import Job
from clit_deploy.render.points import Queries
from clit_deploy.system.files import check_writable
from clit_deploy.tasks.finished_strips import Result, in_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import Size
    from clit_deploy.images.decoded_image import DecodedImage
    from clit_deploy.upscaler import Upscaler

log = logging.getLogger(__name__)

STRIP = 200_000
"""Output pixels that are queried at once; their coordinates take about 50 MB."""


@dataclass(frozen=True)
class Homography:
    """Where points of the image go in the output: a 3x3 matrix on (x, y, 1).

    Points are in pixels from the upper left corner of the upper left pixel.
    """

    matrix: NDArray[np.float64]

    @classmethod
    def parse(cls, text: str) -> Homography:
        """Read `a,b,c,d,e,f` or `a,b,c,d,e,f,g,h,i`, row by row.

        Raises:
            CoordinateError: another count, values that are not finite, or a singular matrix.
        """
        try:
            numbers = np.array([float(part) for part in text.split(",")])
        except ValueError as error:
            raise CoordinateError(
                f"The matrix {text!r:.200} holds a value that is not a number."
            ) from error
        if len(numbers) not in (6, 9) or not np.isfinite(numbers).all():
            raise CoordinateError(
                f"The matrix {text!r} has {len(numbers)} numbers; six finite ones (affine) or "
                "nine (perspective) are needed, row by row."
            )
        matrix = np.vstack([numbers.reshape(-1, 3), [[0, 0, 1]]])[:3]
        even = matrix
        for axis in (0, 1):  # units do not decide whether it is singular
            largest = np.abs(even).max(axis=axis, keepdims=True)
            even = even / np.where(largest > 0, largest, 1)
        if abs(np.linalg.det(even)) < 1e-12:
            raise CoordinateError(
                f"The matrix {text!r} is singular: it flattens the image, so it cannot be inverted."
            )
        if matrix[2, 2] < 0:  # the same mapping with w above 0 in front of the image
            matrix = -matrix
        return cls(matrix)

    def queries(self, rows: NDArray[np.float64], cols: NDArray[np.float64]) -> Queries:
        """Where output pixels (their centers) are on the image, and how large they are there.

        Args:
            rows, cols: positions in the output, float64 `[q]`.

        Returns: the queries; a position beyond the horizon is NaN.
        """
        back = np.linalg.inv(self.matrix)
        x, y, w = back @ np.stack([cols, rows, np.ones_like(rows)])
        with np.errstate(divide="ignore", invalid="ignore"):
            w = np.where(w > 0, w, np.nan)
            x, y = x / w, y / w
            # Gradients of the position over the output; their lengths are a pixel's extent.
            gradient_x = (back[0, :2, None] - x * back[2, :2, None]) / w
            gradient_y = (back[1, :2, None] - y * back[2, :2, None]) / w
            cell = np.stack([np.hypot(*gradient_y), np.hypot(*gradient_x)], axis=-1)
        return Queries(np.stack([y, x], axis=-1), cell)


@dataclass(frozen=True)
class WarpResult:
    """The result of a warp; sizes are height and width in pixels."""

    input: str
    output: str
    size: Size
    scale: float
    seconds: float


def warp_file(
    up: Upscaler,
    source: Path,
    target: Path,
    way: Homography,
    size: Size,
    *,
    force: bool = False,
    progress: Callable[[float], None] | None = None,
) -> WarpResult:
    """Read, resample and write one image.

    Raises:
        ClitDeployError: anything that is wrong, before the work starts if it can be known.
    """
    start = time.perf_counter()
    check_writable(target, force=force)
    if min(size) < 1:
        raise SizeError(f"The output size is {size[1]}x{size[0]}; both must be at least 1.")
    with open_image(source) as file:
        header = file.header
        probe = _probe(way, size, header.size)
        full = _inside(way.queries(*_corners(size)), header.size).all()
        result = Result.of(target, dataclasses.replace(header, alpha=header.alpha or not full))
        check_format(target, size, alpha=header.alpha or not full)
        job = Job(header.size, *output_of(probe, header.size))
        held = held_per_pixel(target) * size[0] * size[1] + header.decoded_bytes
        up.renderer.point_forecast(job, held)  # refuses before anything is decoded
        image = file.decode(up.max_memory)
    metadata = image.metadata.for_result(size)
    with image_writer(
        target, size, result.channels, dtype=result.dtype, metadata=metadata
    ) as append:
        for rows in Span(0, size[0]).split(max(STRIP // size[1], 1)):
            strip = _strip(up, job, image, way, rows, size[1])
            colors, alpha = strip[..., :3], strip[..., 3:]
            if image.gray:
                colors = colors.mean(axis=2, keepdims=True)
            append(in_file(colors, alpha, result))
            if progress:
                progress(rows.stop / size[0])
    seconds = time.perf_counter() - start
    return WarpResult(str(source), str(target), size, job.scale, seconds)


def _strip(
    up: Upscaler, job: Job, image: DecodedImage, way: Homography, rows: Span, width: int
) -> NDArray[np.float32]:
    """Some rows of the output with alpha, `[rows, width, 4]`; zero outside the image."""
    result = np.zeros((len(rows) * width, 4), np.float32)
    row, col = np.mgrid[rows.start : rows.stop, :width].reshape(2, -1) + 0.5
    queries = way.queries(row, col)
    some = np.flatnonzero(_inside(queries, job.size))
    if len(some):
        inside = queries.take(some)
        # The models were not trained for pixels larger than the image's own.
        at = np.clip(inside.at, 0, job.size)
        inside = Queries(at, np.clip(inside.cell, 1 / LARGEST_SCALE, 1))
        result[some, :3] = up.renderer.answer(image.rgb, job, inside)
        result[some, 3:] = 1 if image.alpha is None else bilinear_at(image.alpha, inside.at)
    return result.reshape(len(rows), width, 4)


def _probe(way: Homography, size: Size, image: Size) -> Queries:
    """Queries spread over the part of the image that the output shows: they decide the cascade.

    Raises:
        CoordinateError: it shows nothing of the image.
    """
    y, x = _spread(image)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        col, row, w = way.matrix @ np.stack([x, y, np.ones_like(x)])
        row, col = row / w, col / w
    shown = (w > 0) & (row >= 0) & (row <= size[0]) & (col >= 0) & (col <= size[1])
    # The output and the image may share only a small part of either.
    rows, cols = _spread(size)
    rows, cols = np.concatenate([rows, row[shown]]), np.concatenate([cols, col[shown]])
    queries = way.queries(rows, cols)
    some = np.flatnonzero(_inside(queries, image))
    if not len(some):
        raise CoordinateError(
            f"The matrix moves the whole image out of the output of {size[1]}x{size[0]} pixels; "
            "change its last column."
        )
    found = queries.take(some)
    if (found.cell > 1.001).any():
        log.warning(
            "parts of the output show the image at less than its own size; these models only "
            "enlarge, so fine detail may alias there"
        )
    return found


def _spread(size: Size) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    axes = [np.linspace(0.5, side - 0.5, min(side, 64)) for side in size]
    rows, cols = np.meshgrid(*axes, indexing="ij")
    return rows.ravel(), cols.ravel()


def _inside(queries: Queries, image: Size) -> NDArray[np.bool_]:
    within = (queries.at >= -NOISE) & (queries.at <= np.array(image) + NOISE)
    return within[:, 0] & within[:, 1]


def _corners(size: Size) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.array([0.0, 0, size[0], size[0]]), np.array([0.0, size[1], 0, size[1]])
