"""The local ensemble of LIIF and LTE: the nearest grid pixels of a query and their weights."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from clit_deploy.models.implicit_model import pixel_centers, sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from clit_deploy.grid.cascade import Size


@dataclass(frozen=True)
class Neighbor:
    """One neighboring grid pixel of every query."""

    at: Tensor
    """Coordinates at which to read it, `[q, 2]` in -1..1."""
    offset: Tensor
    """Offset from its center to the query, in half grid pixels, `[q, 2]`."""
    share: Tensor
    """Its weight in the blend, `[q, 1]`."""


def neighbors(coords: Tensor, grid: Size, ensemble: bool = True) -> Iterator[Neighbor]:
    """The four neighbors of every query, or the nearest pixel alone (LIIF, equation 4).

    Args:
        coords: queries `[q, 2]`, row and column in -1..1.
        grid: height and width of the grid.
        ensemble: four neighbors, or one.
    """
    sides = torch.tensor(grid, dtype=coords.dtype, device=coords.device)
    centres = pixel_centers(grid, coords).permute(2, 0, 1)[None]
    near, offset = [], []
    for shift in (-1, 1) if ensemble else (0,):
        at = (coords + shift / sides + 1e-6 * abs(shift)).clamp(-1 + 1e-6, 1 - 1e-6)
        near.append(at)
        offset.append((coords - sample(centres, at, "nearest")) * sides)
    # The published code adds 1e-9 to areas, here it is added to sides: the same blend, but if both
    # offsets along one axis are zero (a center on the last grid pixel), the other axis keeps its
    # weights instead of losing them to rounding.
    far = torch.stack(offset[::-1]).abs() + 1e-9
    share = far / far.sum(dim=0)
    for a, b in itertools.product(range(len(near)), repeat=2):
        yield Neighbor(
            torch.stack([near[a][:, 0], near[b][:, 1]], dim=-1),
            torch.stack([offset[a][:, 0], offset[b][:, 1]], dim=-1),
            share[a, :, :1] * share[b, :, 1:],
        )
