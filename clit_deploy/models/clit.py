"""CLIT, the Cascaded Local Implicit Transformer (Chen et al., CVPR 2023), query by query."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor, nn

from clit_deploy.errors import UnsupportedModelError
from clit_deploy.models.attention import AttentionModel, check_heads, weighted_values
from clit_deploy.models.edsr import conv3
from clit_deploy.models.implicit_model import Encoder, grid_of, pixel_centers, sample
from clit_deploy.models.mlp import MLP
from clit_deploy.models.posenc import position_encoding, recognized_bias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clit_deploy.grid.cascade import StageGrid
    from clit_deploy.models.weight_shapes import WeightShapes

PUBLISHED_SCALE = 10
"""`posenc_scale` of the published configurations."""


class CLIT(AttentionModel):
    """Local attention around the nearest grid pixel, then an MLP, for each stage.

    The residual of a stage is its MLP's output plus 0.75 times the residual before it; the
    image is the last residual plus the bilinear upsampling of the input.
    """

    decay: ClassVar[float] = 0.75

    def __init__(
        self,
        encoder: Encoder,
        imnet_spec: Mapping[str, Any],
        pb_spec: Mapping[str, Any] | None = None,
        base_dim: int = 192,
        head: int = 8,
        r: int = 3,
        imnet_num: int = 1,
        conv_num: int = 1,
        is_cell: bool = True,
        local_attn: bool = True,
    ) -> None:
        super().__init__()
        if not local_attn:
            raise UnsupportedModelError("CLIT without local attention is not supported.")
        check_heads(base_dim, head)
        if imnet_num != conv_num:
            raise UnsupportedModelError(
                f"The cascade has {conv_num} attention stages but {imnet_num} MLPs."
            )
        self.dim, self.head, self.r, self.stages, self.is_cell = (
            base_dim,
            head,
            r,
            conv_num,
            is_cell,
        )
        self.encoder = encoder
        self.conv_ch = conv3(encoder.out_dim, base_dim)
        self.conv_vs = nn.ModuleList(conv3(base_dim, base_dim) for _ in range(conv_num))
        self.conv_qs = nn.ModuleList(conv3(base_dim, base_dim) for _ in range(conv_num))
        self.conv_ks = nn.ModuleList(conv3(base_dim, base_dim) for _ in range(conv_num))
        self.pb_encoder = position_encoding(pb_spec, head)
        width = base_dim * (2 * r + 1) ** 2 + (2 if is_cell else 0)
        self.imnets = nn.ModuleList(MLP.from_spec(imnet_spec, width) for _ in range(conv_num))

    @classmethod
    def recognize(cls, shapes: WeightShapes, channels: int) -> tuple[dict[str, Any], str] | None:  # noqa: ARG003
        """See `ImplicitModel.recognize`."""
        dim, position = (
            shapes.at("conv_ch.weight", 0),
            recognized_bias(shapes.inside("pb_encoder."), PUBLISHED_SCALE),
        )
        mlp = MLP.recognize(shapes.inside("imnets.0."), "gelu")
        if not dim or mlp is None or position is None:
            return None
        imnet_spec, inputs = mlp
        head, pb_spec = position
        pixels, cell = divmod(inputs, dim)
        args = {
            "base_dim": dim,
            "head": head,
            "r": (math.isqrt(pixels) - 1) // 2,
            "conv_num": shapes.count(r"conv_qs\.(\d+)\.weight"),
            "imnet_num": shapes.count(r"imnets\.(\d+)\.layers\.0\.weight"),
            "is_cell": cell == 2,
            "pb_spec": pb_spec,
            "imnet_spec": imnet_spec,
        }
        return args, f"GELU, and a position bias with frequencies up to 2^{PUBLISHED_SCALE}"

    def mlp(self, stage: int) -> MLP:
        """The MLP of a stage."""
        return cast("MLP", self.imnets[stage])

    def qkv(self, stage: int) -> tuple[nn.Conv2d, nn.Conv2d, nn.Conv2d]:
        """The convolutions for a stage's queries, keys and values."""
        q, k, v = self.conv_qs[stage], self.conv_ks[stage], self.conv_vs[stage]
        return cast("nn.Conv2d", q), cast("nn.Conv2d", k), cast("nn.Conv2d", v)

    def stage_maps(self, features: Tensor, stage_grid: StageGrid, stage: int) -> dict[str, Tensor]:
        """Queries, keys and values of the features resampled to the stage's grid."""
        wide = self.conv_ch(features)
        if stage > 0:
            # Coordinates of the finer pixels: their pitch is the grid's, even if the encoder pads.
            stretch = [
                (up.padded_out / up.out) * (up.grid / up.padded_grid)
                for up in stage_grid.over_image
            ]
            coords = (pixel_centers(stage_grid.size, wide) + 1) * wide.new_tensor(stretch) - 1
            wide = sample(wide, coords, "bilinear").permute(2, 0, 1)[None]
        return {name: conv(wide) for name, conv in zip("qkv", self.qkv(stage), strict=True)}

    def query(self, maps: dict[str, Tensor], coords: Tensor, cell: Tensor, stage: int) -> Tensor:
        """Attention over the window of the nearest grid pixel, then the stage's MLP."""
        size = cell * torch.tensor(grid_of(maps), dtype=coords.dtype, device=coords.device)
        window, weights = self.attend(maps, coords, size)
        z = weighted_values(weights, maps["v"], window).flatten(1)
        if self.is_cell:
            z = torch.cat([z, size.expand(len(z), 2)], dim=-1)
        rgb: Tensor = self.mlp(stage)(z)
        return rgb
