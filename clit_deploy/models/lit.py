"""LIT with the local frequency branch (Chen et al., CVPR 2023, section 3.2), query by query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from clit_deploy.errors import UnsupportedModelError
from clit_deploy.models.attention import AttentionModel, check_heads, weighted_values
from clit_deploy.models.edsr import conv3
from clit_deploy.models.implicit_model import Encoder, grid_of, sample
from clit_deploy.models.mlp import MLP
from clit_deploy.models.posenc import position_encoding, recognized_bias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clit_deploy.grid.cascade import StageGrid
    from clit_deploy.models.weight_shapes import WeightShapes

BIAS_SCALE, WAVE_SCALE = 10, 6
"""`posenc_scale` of the published `pb_spec` and `pe_spec`."""


class LIT(AttentionModel):
    """One stage of local attention; the inputs of the MLP are the values and the window's spectrum.

    The spectrum is the two-dimensional Fourier transform of a 7x7 window of further features;
    every coefficient is rotated by the complex position encoding of its position in the window.
    """

    r = 3

    def __init__(
        self,
        encoder: Encoder,
        imnet_spec: Mapping[str, Any] | None = None,
        is_cell: bool = True,
        local_ensemble: bool = False,
        local_attn: bool = True,
        base_dim: int = 192,
        head: int = 8,
        pe_spec: Mapping[str, Any] | None = None,
        pb_spec: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if local_ensemble or not local_attn:
            raise UnsupportedModelError(
                "LIT with local_ensemble or without local_attn is not supported; no published "
                "configuration has either."
            )
        check_heads(base_dim, head)
        self.dim, self.head, self.is_cell = base_dim, head, is_cell
        self.encoder = encoder
        self.conv_v, self.conv_q, self.conv_k = (conv3(encoder.out_dim, base_dim) for _ in "vqk")
        self.pb_encoder = position_encoding(pb_spec, head)
        encoding = position_encoding(pe_spec, 1, waves=True)
        if encoding is None:
            raise UnsupportedModelError("The LIT has no pe_spec; its frequency branch needs one.")
        self.pe_encoder = encoding
        self.waves = int((pe_spec or {})["args"].get("enc_dims", 256)) // 2
        if len(encoding.wave_vectors()) != self.waves:
            raise UnsupportedModelError(
                f"The pe_spec has {len(encoding.wave_vectors())} waves, but the frequency branch "
                f"{self.waves} channels (half of enc_dims); they must be equal."
            )
        self.conv_freq = conv3(encoder.out_dim, self.waves)
        width = (base_dim + 2 * self.waves) * (2 * self.r + 1) ** 2
        self.imnet = MLP.from_spec(imnet_spec, width + (2 if is_cell else 0))

    @classmethod
    def recognize(cls, shapes: WeightShapes, channels: int) -> tuple[dict[str, Any], str] | None:  # noqa: ARG003
        """See `ImplicitModel.recognize`."""
        dim, waves = shapes.at("conv_v.weight", 0), shapes.at("conv_freq.weight", 0)
        position = recognized_bias(shapes.inside("pb_encoder."), BIAS_SCALE)
        mlp = MLP.recognize(shapes.inside("imnet."), "gelu")
        if not dim or mlp is None or position is None or "pe_encoder.proj.weight" not in shapes:
            return None
        imnet_spec, inputs = mlp
        head, pb_spec = position
        pe_args = {"posenc_type": "sinusoid", "complex_transform": True, "enc_dims": 2 * waves}
        args = {
            "base_dim": dim,
            "head": head,
            "is_cell": inputs % (dim + 2 * waves) == 2,
            "pb_spec": pb_spec,
            "pe_spec": {"name": "posenc", "args": {**pe_args, "posenc_scale": WAVE_SCALE}},
            "imnet_spec": imnet_spec,
        }
        return args, (
            f"GELU, a position bias with frequencies up to 2^{BIAS_SCALE}, and waves with "
            f"frequencies up to 2^{WAVE_SCALE}"
        )

    def stage_maps(self, features: Tensor, stage_grid: StageGrid, stage: int) -> dict[str, Tensor]:  # noqa: ARG002
        """Queries, keys, values and the features of the frequency branch."""
        convolutions = (self.conv_q, self.conv_k, self.conv_v, self.conv_freq)
        return {name: conv(features) for name, conv in zip("qkvf", convolutions, strict=True)}

    def query(self, maps: dict[str, Tensor], coords: Tensor, cell: Tensor, stage: int) -> Tensor:  # noqa: ARG002
        """Attention and spectrum of the window, then the MLP."""
        size = cell * torch.tensor(grid_of(maps), dtype=coords.dtype, device=coords.device)
        window, weights = self.attend(maps, coords, size)
        values = weighted_values(weights, maps["v"], window)
        spectrum = self._spectrum(sample(maps["f"], window.at, "nearest"))
        angle = window.offset @ self.pe_encoder.wave_vectors().to(coords).T
        turn = torch.polar(self.pe_encoder.amplitude(size)[:, None].expand_as(angle), angle)
        turned = torch.view_as_real(spectrum * turn).flatten(2)
        z = torch.cat([values, turned], dim=-1).flatten(1)
        if self.is_cell:
            z = torch.cat([z, size.expand(len(z), 2)], dim=-1)
        rgb: Tensor = self.imnet(z)
        return rgb

    def _spectrum(self, window: Tensor) -> Tensor:
        """`[q, 49, waves]` -> its Fourier coefficients, complex, in the order of the window."""
        side = 2 * self.r + 1
        square = window.reshape(len(window), side, side, -1)
        spectrum: Tensor = torch.fft.fft2(square, dim=(1, 2), norm="ortho")
        return spectrum.flatten(1, 2)
