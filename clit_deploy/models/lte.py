"""LTE, the Local Texture Estimator (Lee and Jin, CVPR 2022), query by query."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from clit_deploy.errors import UnsupportedModelError
from clit_deploy.models.edsr import conv3
from clit_deploy.models.ensemble import neighbors
from clit_deploy.models.implicit_model import Encoder, ImplicitModel, sample
from clit_deploy.models.mlp import MLP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clit_deploy.grid.cascade import Size, StageGrid
    from clit_deploy.models.weight_shapes import WeightShapes


class LTE(ImplicitModel):
    """Amplitudes times waves of the offset, an MLP, the local ensemble, plus bilinear(x)."""

    bilinear_base: ClassVar[bool] = True

    def __init__(
        self, encoder: Encoder, imnet_spec: Mapping[str, Any], hidden_dim: int = 256
    ) -> None:
        super().__init__()
        if hidden_dim % 2:
            raise UnsupportedModelError(f"LTE's hidden_dim is {hidden_dim}; it must be even.")
        self.encoder = encoder
        self.coef = conv3(encoder.out_dim, hidden_dim)
        self.freq = conv3(encoder.out_dim, hidden_dim)
        self.phase = nn.Linear(2, hidden_dim // 2, bias=False)
        self.imnet = MLP.from_spec(imnet_spec, hidden_dim)

    @classmethod
    def recognize(cls, shapes: WeightShapes, channels: int) -> tuple[dict[str, Any], str] | None:  # noqa: ARG003
        """See `ImplicitModel.recognize`."""
        mlp, width = MLP.recognize(shapes.inside("imnet."), "relu"), shapes.at("coef.weight", 0)
        return ({"hidden_dim": width, "imnet_spec": mlp[0]}, "ReLU") if mlp and width else None

    def cell(self, size: Size, scale: float) -> tuple[float, float]:
        """LTE's own rule: beyond x4 the cell stays that of x4, the largest scale in training."""
        stretch = max(scale / 4, 1)
        return 2 / size[0] * stretch, 2 / size[1] * stretch

    def stage_maps(self, features: Tensor, stage_grid: StageGrid, stage: int) -> dict[str, Tensor]:  # noqa: ARG002
        """Amplitudes and frequencies of every grid pixel."""
        return {"coef": self.coef(features), "freq": self.freq(features)}

    def query(self, maps: dict[str, Tensor], coords: Tensor, cell: Tensor, stage: int) -> Tensor:  # noqa: ARG002
        """The blended predictions of the MLP for the four nearest grid pixels."""
        height, width = maps["coef"].shape[-2:]
        sides = torch.tensor((height, width), dtype=coords.dtype, device=coords.device)
        phase = self.phase(cell * sides)
        rgb = torch.zeros(len(coords), 3, dtype=coords.dtype, device=coords.device)
        for near in neighbors(coords, (height, width)):
            freq = sample(maps["freq"], near.at, "nearest").reshape(len(coords), -1, 2)
            angle = math.pi * ((freq * near.offset[:, None]).sum(dim=-1) + phase)
            waves = torch.cat([angle.cos(), angle.sin()], dim=-1)
            rgb = rgb + self.imnet(sample(maps["coef"], near.at, "nearest") * waves) * near.share
        return rgb
