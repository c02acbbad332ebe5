"""The answer of any family at single places, one image and one query at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from clit_deploy.grid.cascade import StageGrid
from clit_deploy.grid.geometry import Axis
from clit_deploy.models.implicit_model import sample

if TYPE_CHECKING:
    from torch import Tensor

    from clit_deploy.models.implicit_model import ImplicitModel
    from clit_deploy.training.patch import Patch


def query_places(
    model: ImplicitModel, features: Tensor, image: Tensor, patch: Patch, places: Tensor
) -> Tensor:
    """The colors of a crop at some output pixels, through all its stages.

    Args:
        model: a network of any family.
        features: the encoder's, of one image, `[1, channels, low, low]`, float32.
        image: the crop, `[1, 3, low, low]`, -1 to 1.
        patch: sizes and factors; its spans are not used.
        places: output pixels, row and column, int64 `[q, 2]`.

    Returns: `[q, 3]`, -1 to 1.
    """
    # Centres are computed in float64: at x24 float32 loses a thousandth of a grid pixel.
    coords = ((2 * places.double() + 1) / patch.size - 1).to(image.dtype)
    cell = image.new_tensor(model.cell((patch.size, patch.size), patch.scale))
    rgb = image.new_zeros(len(places), 3)
    for stage in range(len(patch.factors)):
        grid = patch.grid(stage)
        stage_grid = StageGrid((Axis(patch.low, grid),) * 2, (Axis(grid, patch.size),) * 2)
        maps = model.stage_maps(features, stage_grid, stage)
        rgb = model.query(maps, coords, cell, stage) + model.decay * rgb
    if model.bilinear_base:
        rgb = rgb + sample(image, coords, "bilinear", "border")
    return rgb


def every_place(patch: Patch, device: torch.device) -> Tensor:
    """All output pixels of a patch, row by row, `[rows * cols, 2]`."""
    rows = torch.arange(patch.rows.start, patch.rows.stop, device=device)
    cols = torch.arange(patch.cols.start, patch.cols.stop, device=device)
    return torch.cartesian_prod(rows, cols)
