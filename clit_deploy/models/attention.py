"""Local attention around the nearest grid pixel, shared by CLIT and LIT."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from clit_deploy.errors import UnsupportedModelError
from clit_deploy.models.implicit_model import ImplicitModel, grid_of, pixel_centers, sample

if TYPE_CHECKING:
    from torch import Tensor

    from clit_deploy.grid.cascade import Size
    from clit_deploy.models.posenc import PositionEncoding


@dataclass(frozen=True)
class Window:
    """The window around the nearest grid pixel of every query: `(2r + 1)^2` pixels, row first."""

    at: Tensor
    """Coordinates of its pixels, `[q, j, 2]` in -1..1."""
    offset: Tensor
    """Offset from its pixels to the query, in half grid pixels, `[q, j, 2]`."""

    @classmethod
    def around(cls, coords: Tensor, grid: Size, r: int) -> Window:
        """The windows of `coords [q, 2]` on a grid."""
        sides = torch.tensor(grid, dtype=coords.dtype, device=coords.device)
        centres = pixel_centers(grid, coords).permute(2, 0, 1)[None]
        steps = torch.arange(-r, r + 1, dtype=coords.dtype, device=coords.device)
        window = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2)
        at = sample(centres, coords, "nearest")[:, None] + window * (2 / sides)
        return cls(at, (coords[:, None] - at) * sides)


class AttentionModel(ImplicitModel):
    """A model with attention to windows of side `2r + 1`, by `head` heads over `dim` channels."""

    bilinear_base = True
    dim: int
    head: int
    r: int
    pb_encoder: PositionEncoding | None

    def attend(
        self, maps: dict[str, Tensor], coords: Tensor, cell: Tensor
    ) -> tuple[Window, Tensor]:
        """The windows of `coords [q, 2]`, and the attention of each head `[q, j, heads]`.

        Softmax of the query's products with the keys and the position bias; `maps` holds queries
        `q` and keys `k`, `cell` is the size of a pixel in half grid pixels.
        """
        window = Window.around(coords, grid_of(maps), self.r)
        q = by_head(sample(maps["q"], coords, "bilinear"), self.head)
        k = by_head(sample(maps["k"], window.at, "nearest"), self.head)
        logits = torch.einsum("qhc,qjhc->qjh", q, k) / math.sqrt(q.shape[-1])
        if self.pb_encoder is not None:
            logits = logits + self.pb_encoder.bias(window.offset, cell)
        return window, logits.softmax(dim=1)


def by_head(x: Tensor, heads: int) -> Tensor:
    """`[..., channels]` -> `[..., heads, channels / heads]`."""
    return x.reshape(*x.shape[:-1], heads, -1)


def weighted_values(weights: Tensor, values: Tensor, window: Window) -> Tensor:
    """The values in the window, weighted by each head's attention: `[q, j, channels]`."""
    v = by_head(sample(values, window.at, "nearest"), weights.shape[-1])
    return (weights[..., None] * v).flatten(2)


def check_heads(dim: int, head: int) -> None:
    """Refuse a number of heads (at least 1) that does not divide the channels.

    Raises:
        UnsupportedModelError: it does not.
    """
    if dim % head:
        raise UnsupportedModelError(
            f"base_dim {dim} is not a multiple of {head} heads; the checkpoint's args are wrong."
        )
