"""What a pixel attends to, as rectangles of the image that a page can draw."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from clit_deploy.errors import CoordinateError
from clit_deploy.tasks.attention_figure import window_corner

if TYPE_CHECKING:
    from clit_deploy.encoded_image import EncodedImage
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.render.renderer import Renderer


def lack_of_attention(plan: Plan) -> str | None:
    """Why a plan shows no attention; None if it does."""
    if all(stage.attention is not None for stage in plan.manifest.stages):
        return None
    return f"The model {plan.name} is of family {plan.manifest.family!r}, which has no attention."


def attention_windows(
    image: EncodedImage, renderer: Renderer, at: tuple[float, float], scale: float
) -> dict[str, Any]:
    """The attention of an output pixel, for JSON.

    Args:
        image: its features.
        renderer: of its plan.
        at: column and row of the image, whole or not.
        scale: of the output, at least 1.

    Returns: `stages`, and for each of them `window` (left, top, width and height of its window in
        pixels of the image) and `heads`, the weights `[heads, rows, columns]` of its cells.

    Raises:
        CoordinateError: it lies outside the image.
        UnsupportedModelError, SizeError: see `EncodedImage.attention`.
    """
    height, width = image.size
    if not (0 <= at[0] < width and 0 <= at[1] < height):
        raise CoordinateError(f"The pixel {at[0]:g}, {at[1]:g} lies outside the image.")
    job = renderer.job_of(image.size, scale=scale)
    pixel = (
        min(math.floor(at[1] * job.output[0] / height), job.output[0] - 1),
        min(math.floor(at[0] * job.output[1] / width), job.output[1] - 1),
    )
    maps = image.attention(pixel, scale=scale)
    stages = []
    for stage_grid, heads in zip(renderer.stage_grids(job), maps, strict=True):
        side = heads.shape[1]
        (top, left), (down, across) = window_corner(pixel, stage_grid, side)
        stages.append(
            {
                "window": [left, top, side * across, side * down],
                "heads": np.round(heads, 5).tolist(),
            }
        )
    return {"stages": stages}
