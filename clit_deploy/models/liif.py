"""LIIF, the Local Implicit Image Function (Chen, Liu and Wang, CVPR 2021), query by query."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from clit_deploy.models.base import Encoder, ImplicitModel, pixel_centres, sample
from clit_deploy.models.mlp import MLP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clit_deploy.cascade import Size


class LIIF(ImplicitModel):
    """One MLP for the feature of each of the nearest grid pixels, blended by opposite areas."""

    def __init__(
        self,
        encoder: Encoder,
        imnet_spec: Mapping[str, Any],
        local_ensemble: bool = True,
        feat_unfold: bool = True,
        cell_decode: bool = True,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.local_ensemble = local_ensemble
        self.feat_unfold = feat_unfold
        self.cell_decode = cell_decode
        features = encoder.out_dim * (9 if feat_unfold else 1)
        self.imnet = MLP.from_spec(imnet_spec, features + 2 + (2 if cell_decode else 0))

    def stage_maps(self, features: Tensor, grid: Size, stage: int) -> dict[str, Tensor]:  # noqa: ARG002
        """The features, each pixel with its 3x3 neighbourhood if the model unfolds."""
        if self.feat_unfold:
            rows = nn.functional.unfold(features, 3, padding=1)
            features = rows.reshape(1, -1, *features.shape[-2:])
        return {"features": features}

    def query(self, maps: dict[str, Tensor], coords: Tensor, cell: Tensor, stage: int) -> Tensor:  # noqa: ARG002
        """Blend of the MLP's answers for the four nearest grid pixels (or the one)."""
        features = maps["features"]
        height, width = features.shape[-2:]
        sides = torch.tensor((height, width), dtype=coords.dtype, device=coords.device)
        centres = pixel_centres((height, width), coords).permute(2, 0, 1)[None]
        near, offset = [], []
        for shift in (-1, 1) if self.local_ensemble else (0,):
            at = (coords + shift / sides + 1e-6 * abs(shift)).clamp(-1 + 1e-6, 1 - 1e-6)
            near.append(at)
            offset.append((coords - sample(centres, at, "nearest")) * sides)
        # The published code adds 1e-9 to areas, here it is added to sides: the same blend, but
        # where both offsets of one axis vanish (a centre on the last grid pixel) the other axis
        # keeps its weights instead of losing them to rounding.
        far = torch.stack(offset[::-1]).abs() + 1e-9
        blend = far / far.sum(dim=0)
        rgb = torch.zeros(len(coords), 3, dtype=coords.dtype, device=coords.device)
        for a, b in itertools.product(range(len(near)), repeat=2):
            at = torch.stack([near[a][:, 0], near[b][:, 1]], dim=-1)
            parts = [
                sample(features, at, "nearest"),
                torch.stack([offset[a][:, 0], offset[b][:, 1]], dim=-1),
            ]
            if self.cell_decode:
                parts.append((cell * sides).expand(len(coords), 2))
            answer = self.imnet(torch.cat(parts, dim=-1))
            rgb = rgb + answer * (blend[a, :, :1] * blend[b, :, 1:])
        return rgb
