"""RCAN without its upsampler (Zhang et al., ECCV 2018, figure 2)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from clit_deploy.errors import UnsupportedModelError
from clit_deploy.models.edsr import HeadAndBody, conv3, refuse_upsampler

LARGEST_HALO = 32
"""Smaller than the receptive field: from 16 pixels on, the means of a tile, which differ from those
of the image, cause a larger error than the pixels beyond the halo."""


class ChannelAttention(nn.Module):
    """Each channel times a weight that depends on the means of all channels over the image."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        few = channels // reduction
        self.conv_du = nn.Sequential(
            nn.Conv2d(channels, few, 1), nn.ReLU(), nn.Conv2d(few, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """`[1, channels, h, w]` -> the same shape."""
        weights: Tensor = self.conv_du(x.mean(dim=(2, 3), keepdim=True))
        return x * weights


class Residual(nn.Module):
    """Layers, added to their input."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """`[1, channels, h, w]` -> the same shape."""
        out: Tensor = x + self.body(x)
        return out


def block(channels: int, reduction: int) -> Residual:
    """Convolution, ReLU, convolution, channel attention, added to the input."""
    return Residual(
        conv3(channels, channels),
        nn.ReLU(),
        conv3(channels, channels),
        ChannelAttention(channels, reduction),
    )


class RCAN(HeadAndBody):
    """RCAN's head and body: groups of blocks, with a convolution after each group and after all."""

    exact: ClassVar[bool] = False

    def __init__(
        self,
        n_resgroups: int = 10,
        n_resblocks: int = 20,
        n_feats: int = 64,
        reduction: int = 16,
        scale: int = 2,  # noqa: ARG002  (part of the published spec; only an upsampler uses it)
        no_upsampling: bool = False,
        rgb_range: float = 1,
    ) -> None:
        refuse_upsampler("RCAN", no_upsampling)
        if not 1 <= reduction <= n_feats:
            raise UnsupportedModelError(
                f"RCAN's reduction is {reduction}; it must be from 1 to n_feats, {n_feats}."
            )
        groups = (
            Residual(
                *(block(n_feats, reduction) for _ in range(n_resblocks)), conv3(n_feats, n_feats)
            )
            for _ in range(n_resgroups)
        )
        super().__init__(groups, n_feats, rgb_range)
        self.halo = min(n_resgroups * (2 * n_resblocks + 1) + 2, LARGEST_HALO)
        self.live_channels = 6 * n_feats
