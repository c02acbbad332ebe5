"""The base of all implicit models: an encoder, decoding by query, rendering of a whole image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from clit_deploy.grid.cascade import Size, StageGrid, stage_grids
from clit_deploy.grid.tiling import round_up

if TYPE_CHECKING:
    from clit_deploy.models.weight_shapes import WeightShapes


def pixel_centers(size: Size, like: Tensor) -> Tensor:
    """Centers of the pixels of a grid in -1..1, row and column, `[h, w, 2]`."""
    axes = [
        (torch.arange(side, dtype=like.dtype, device=like.device) * 2 + 1) / side - 1
        for side in size
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


class Encoder(nn.Module):
    """Image in -1..1 -> features of the same height and width."""

    out_dim: int
    """Channels of the features."""
    halo: int
    """Pixels around a tile that its features need: the radius of the receptive field, or, if that
    is unbounded, enough to keep the error of tiling small."""
    exact: ClassVar[bool] = True
    """Whether the halo covers the receptive field, so that tiled equals whole."""
    multiple: int = 1
    """Sides of the input, and starts of its tiles, are multiples of this."""
    live_channels: int
    """Most channels of all tensors that are alive at once (an estimate, to predict memory)."""


class ImplicitModel(nn.Module, ABC):
    """An encoder and a decoder of coordinates, in the form of the papers.

    This is the plain definition, query by query: slow, and the reference that exported graphs are
    compared with.
    """

    encoder: Encoder
    stages: int = 1
    bilinear_base: ClassVar[bool] = False
    decay: ClassVar[float] = 0.0

    @abstractmethod
    def stage_maps(self, features: Tensor, stage_grid: StageGrid, stage: int) -> dict[str, Tensor]:
        """The maps that a stage's queries read, `[1, C, gh, gw]`, from the encoder's features."""

    @abstractmethod
    def query(self, maps: dict[str, Tensor], coords: Tensor, cell: Tensor, stage: int) -> Tensor:
        """RGB of one stage at `coords [q, 2]` (row, column in [-1, 1]) for pixels of `cell [2]`.

        Returns: `[q, 3]` in the network's own range, -1 to 1; if the model has a bilinear base, the
            residual to it.
        """

    @classmethod
    def recognize(cls, shapes: WeightShapes, channels: int) -> tuple[dict[str, Any], str] | None:  # noqa: ARG003
        """What a model is whose weights have these shapes.

        Args:
            shapes: of all weights.
            channels: of the encoder's features.

        Returns: its args without the encoder, and in words what no shape shows and is assumed to be
            as published; None if it is of another family, or if too much would be assumed.
        """
        return None

    def cell(self, size: Size, scale: float) -> tuple[float, float]:  # noqa: ARG002
        """Height and width of an output pixel in -1..1, as the model was trained with them."""
        return 2 / size[0], 2 / size[1]

    @torch.no_grad()
    def render(
        self, image: Tensor, size: Size, scale: float | None = None, *, batch: int = 30_000
    ) -> Tensor:
        """Upscale a whole image, `batch` queries at a time.

        If the encoder needs certain sides, the image is mirrored at its lower and right edges (as
        the published evaluation does), and the outputs stay where they are.

        Args:
            image: `[h, w, 3]`, 0 to 1, in the model's dtype.
            size: height and width of the output.
            scale: decides how many stages run; by default the larger ratio of output to input side.
            batch: queries at a time (the published code uses 30,000).

        Returns: `[H, W, 3]`, not clipped.
        """
        height, width, _ = image.shape
        ratio = scale or max(size[0] / height, size[1] / width)
        inp = mirrored((image - 0.5) / 0.5, self.encoder.multiple).permute(2, 0, 1)[None]
        padded = inp.shape[2], inp.shape[3]
        features = self.encoder(inp)
        coords = pixel_centers(size, image).reshape(-1, 2)
        cell = torch.tensor(self.cell(size, ratio), dtype=image.dtype, device=image.device)
        rgb = torch.zeros(len(coords), 3, dtype=image.dtype, device=image.device)
        for stage, stage_grid in enumerate(
            stage_grids((height, width), padded, size, ratio, self.stages)
        ):
            # If the grid extends beyond the image, the image is the first part of it.
            shrink = coords.new_tensor(
                [axis.grid / axis.padded_grid for axis in stage_grid.over_grid]
            )
            at = (coords + 1) * shrink - 1
            maps = self.stage_maps(features, stage_grid, stage)
            parts = [
                self.query(maps, part, cell * shrink, stage) for part in torch.split(at, batch)
            ]
            rgb = torch.cat(parts) + self.decay * rgb
        if self.bilinear_base:
            plain = ((image - 0.5) / 0.5).permute(2, 0, 1)[None]
            rgb = rgb + sample(plain, coords, "bilinear", "border")
        return (rgb * 0.5 + 0.5).reshape(*size, 3)


def mirrored(image: Tensor, multiple: int) -> Tensor:
    """`[h, w, c]` mirrored at its lower and right edges until its sides are multiples."""
    for axis in (0, 1):
        length = image.shape[axis]
        index = torch.arange(round_up(length, multiple), device=image.device) % (2 * length)
        image = image.index_select(axis, torch.minimum(index, 2 * length - 1 - index))
    return image


def grid_of(maps: dict[str, Tensor]) -> Size:
    """Height and width of a stage's grid."""
    height, width = next(iter(maps.values())).shape[-2:]
    return height, width


def sample(maps: Tensor, coords: Tensor, mode: str, padding: str = "zeros") -> Tensor:
    """Read `maps [1, C, h, w]` at `coords [..., 2]` (row, column): `[..., C]`."""
    flat = coords.reshape(1, 1, -1, 2).flip(-1)
    out = nn.functional.grid_sample(maps, flat, mode, padding, align_corners=False)
    return out[0, :, 0].T.reshape(*coords.shape[:-1], -1)
