"""The attention of one output pixel as a figure: each head's window over the image, by stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from clit_deploy.grid.geometry import Span
from clit_deploy.images.image_files import open_image
from clit_deploy.images.image_formats import check_format
from clit_deploy.images.pixels import to_bytes, to_unit
from clit_deploy.system.files import check_writable, replacing

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import StageGrid
    from clit_deploy.tasks.output_size import OutputSize
    from clit_deploy.upscaler import Upscaler

PANEL = 168
"""Side of a panel in pixels."""
GAP = 10
TEXT = 13
CONTEXT = 0.5
"""How much of the image is shown around a window, as a part of the window's side."""

_STOPS = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]])
"""Colors from no attention to the most: dark, violet, red, orange, light."""


@dataclass(frozen=True)
class View:
    """The square of the image that a panel shows, in image pixels."""

    top: float
    left: float
    side: float

    def x(self, col: float) -> float:
        """Where a column of the image is in the panel."""
        return (col - self.left) / self.side * PANEL

    def y(self, row: float) -> float:
        """Where a row of the image is in the panel."""
        return (row - self.top) / self.side * PANEL


def attention_file(
    up: Upscaler,
    source: Path,
    target: Path,
    at: tuple[int, int],
    wanted: OutputSize,
    *,
    force: bool = False,
) -> list[NDArray[np.float32]]:
    """Draw the attention of the output pixel `at` (row, column), and return its weights.

    Raises:
        ClitDeployError: anything that is wrong, before the work starts if it can be known.
    """
    check_writable(target, force=force)
    check_format(target, (PANEL, PANEL), alpha=False)
    with open_image(source) as file:
        job = wanted.job(up.renderer, file.header.size)
        up.renderer.attention_query(job, at)  # refuses before anything is decoded
        up.renderer.point_forecast(job, file.header.decoded_bytes)
        image = file.decode(up.max_memory).rgb
    maps = up.renderer.attention(image, job, at)
    drawn = figure(image, at, up.renderer.stage_grids(job), maps)
    with replacing(target) as part:
        drawn.save(part, Image.registered_extensions()[target.suffix.lower()])
    return maps


def figure(
    image: NDArray[np.generic],
    at: tuple[int, int],
    stage_grids: list[StageGrid],
    maps: list[NDArray[np.float32]],
) -> Image.Image:
    """One row of panels per stage: the image with the window, then every head's attention.

    Args:
        image: `[h, w, 3]` of any type of `images.pixels`.
        at: row and column of the output pixel.
        stage_grids: the grids of the stages that run.
        maps: the attention `[heads, k, k]` of each.
    """
    heads = len(maps[0])
    row_height = PANEL + 2 * GAP + 3 * TEXT
    width, height = GAP + (heads + 1) * (PANEL + GAP), GAP + len(maps) * row_height
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(TEXT)
    for stage, (stage_grid, shares) in enumerate(zip(stage_grids, maps, strict=True)):
        top = GAP + stage * row_height
        draw.text((GAP, top), _title(stage, len(maps), stage_grid, shares, at), "black", font)
        for panel in range(heads + 1):
            left = GAP + panel * (PANEL + GAP)
            share = shares[panel - 1] if panel else None
            sheet.paste(
                _panel(image, at, stage_grid, shares.shape[1], share), (left, top + TEXT + GAP)
            )
            label = f"head {panel}   0 to {share.max():.2f}" if share is not None else "the window"
            draw.text((left, top + TEXT + GAP + PANEL + 3), label, "black", font)
    return sheet


def _title(
    stage: int, stages: int, stage_grid: StageGrid, shares: NDArray[np.float32], at: tuple[int, int]
) -> str:
    rows, cols = stage_grid.over_grid
    side = shares.shape[1]
    wide = side * stage_grid.over_image[1].grid / stage_grid.over_image[1].out
    return (
        f"stage {stage + 1} of {stages}: grid {cols.grid}x{rows.grid}, window {side}x{side} "
        f"({wide:.3g} image pixels wide), attended from output pixel {at[1]},{at[0]} "
        f"of {cols.out}x{rows.out}"
    )


def window_corner(
    at: tuple[int, int], stage_grid: StageGrid, side: int
) -> tuple[list[float], list[float]]:
    """Where the window of an output pixel begins, and how large its cells are.

    Args:
        at: row and column of the output pixel.
        stage_grid: the grid of a stage.
        side: of the window, in pixels of that grid.

    Returns: row and column of the window's upper left corner, and height and width of a pixel of
        the grid, all in pixels of the image.
    """
    pitch = [rise.grid / rise.out for rise in stage_grid.over_image]
    first = [
        (int(axis.cells(Span(a, a + 1), "pixel")[0]) - side // 2) * step
        for a, axis, step in zip(at, stage_grid.over_grid, pitch, strict=True)
    ]
    return first, pitch


def _panel(
    image: NDArray[np.generic],
    at: tuple[int, int],
    stage_grid: StageGrid,
    side: int,
    share: NDArray[np.float32] | None,
) -> Image.Image:
    """The image around a window; with `share`, the window's attention drawn over it."""
    first, pitch = window_corner(at, stage_grid, side)
    longest = side * max(pitch)
    corner = [
        start + side * step / 2 - longest * (0.5 + CONTEXT)
        for start, step in zip(first, pitch, strict=True)
    ]
    view = View(corner[0], corner[1], longest * (1 + 2 * CONTEXT))
    panel = _crop(image, view)
    draw = ImageDraw.Draw(panel, "RGBA")
    for row in range(side):
        for col in range(side):
            box = (
                view.x(first[1] + col * pitch[1]),
                view.y(first[0] + row * pitch[0]),
                view.x(first[1] + (col + 1) * pitch[1]),
                view.y(first[0] + (row + 1) * pitch[0]),
            )
            if share is None:
                draw.rectangle(box, outline=(255, 255, 255, 150))
            else:
                draw.rectangle(box, fill=(*_color(share[row, col] / share.max()), 200))
    centre = [
        (2 * a + 1) * rise.grid / (2 * axis.out)
        for a, rise, axis in zip(at, stage_grid.over_image, stage_grid.over_grid, strict=True)
    ]
    x, y = view.x(centre[1]), view.y(centre[0])
    draw.ellipse((x - 4, y - 4, x + 4, y + 4), outline="white", width=2)
    draw.ellipse((x - 5, y - 5, x + 5, y + 5), outline="black")
    return panel


def _crop(image: NDArray[np.generic], view: View) -> Image.Image:
    """The image inside a view, its pixels as squares; gray outside the image."""
    places = (np.arange(PANEL) + 0.5) / PANEL * view.side
    rows = np.floor(view.top + places).astype(int)
    cols = np.floor(view.left + places).astype(int)
    inside = np.outer((rows >= 0) & (rows < image.shape[0]), (cols >= 0) & (cols < image.shape[1]))
    at = np.clip(rows, 0, len(image) - 1)[:, None], np.clip(cols, 0, image.shape[1] - 1)
    pixels = np.where(inside[..., None], to_unit(image[at]), np.float32(0.6))
    return Image.fromarray(to_bytes(pixels))


def _color(value: float) -> tuple[int, int, int]:
    place = np.linspace(0, 1, len(_STOPS))
    red, green, blue = (int(np.interp(value, place, _STOPS[:, c])) for c in range(3))
    return red, green, blue
