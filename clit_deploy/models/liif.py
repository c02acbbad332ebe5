"""LIIF, the Local Implicit Image Function (Chen, Liu and Wang, CVPR 2021), query by query."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from clit_deploy.models.ensemble import neighbors
from clit_deploy.models.implicit_model import Encoder, ImplicitModel, sample
from clit_deploy.models.mlp import MLP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clit_deploy.grid.cascade import StageGrid
    from clit_deploy.models.weight_shapes import WeightShapes


class LIIF(ImplicitModel):
    """An MLP for each of the nearest grid pixels, whose predictions are blended by area."""

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

    @classmethod
    def recognize(cls, shapes: WeightShapes, channels: int) -> tuple[dict[str, Any], str] | None:
        """See `ImplicitModel.recognize`."""
        mlp = MLP.recognize(shapes.inside("imnet."), "relu")
        for unfold, cell in itertools.product((True, False), repeat=2):
            inputs = channels * (9 if unfold else 1) + 2 + 2 * cell
            if mlp is not None and mlp[1] == inputs and "coef.weight" not in shapes:
                args = {"feat_unfold": unfold, "cell_decode": cell, "imnet_spec": mlp[0]}
                return args, "the local ensemble and ReLU"
        return None

    def stage_maps(self, features: Tensor, stage_grid: StageGrid, stage: int) -> dict[str, Tensor]:  # noqa: ARG002
        """The features, each pixel with its 3x3 neighborhood if the model unfolds."""
        if self.feat_unfold:
            rows = nn.functional.unfold(features, 3, padding=1)
            features = rows.reshape(1, -1, *features.shape[-2:])
        return {"features": features}

    def query(self, maps: dict[str, Tensor], coords: Tensor, cell: Tensor, stage: int) -> Tensor:  # noqa: ARG002
        """The blended predictions for the four nearest grid pixels, or that for the nearest."""
        features = maps["features"]
        height, width = features.shape[-2:]
        sides = torch.tensor((height, width), dtype=coords.dtype, device=coords.device)
        rgb = torch.zeros(len(coords), 3, dtype=coords.dtype, device=coords.device)
        for near in neighbors(coords, (height, width), self.local_ensemble):
            parts = [sample(features, near.at, "nearest"), near.offset]
            if self.cell_decode:
                parts.append((cell * sides).expand(len(coords), 2))
            rgb = rgb + self.imnet(torch.cat(parts, dim=-1)) * near.share
        return rgb
