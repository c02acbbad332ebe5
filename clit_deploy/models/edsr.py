"""EDSR without its upsampler (Lim et al., CVPRW 2017, figure 3): the encoder of LIIF and CLIT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from clit_deploy.errors import UnsupportedModelError
from clit_deploy.models.implicit_model import Encoder

if TYPE_CHECKING:
    from collections.abc import Iterable

RGB_MEAN = (0.4488, 0.4371, 0.4040)


def conv3(a: int, b: int) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size."""
    return nn.Conv2d(a, b, 3, padding=1)


class MeanShift(nn.Conv2d):
    """A fixed 1x1 convolution of EDSR; checkpoints contain it, implicit models do not use it."""

    def __init__(self, rgb_range: float, sign: int) -> None:
        super().__init__(3, 3, 1)
        self.weight.data = torch.eye(3).reshape(3, 3, 1, 1)
        self.bias = nn.Parameter(sign * rgb_range * torch.tensor(RGB_MEAN))
        self.requires_grad_(False)


class ResBlock(nn.Module):
    """Convolution, ReLU, convolution, added to the input."""

    def __init__(self, n_feats: int, res_scale: float) -> None:
        super().__init__()
        self.body = nn.Sequential(conv3(n_feats, n_feats), nn.ReLU(), conv3(n_feats, n_feats))
        self.res_scale = res_scale

    def forward(self, x: Tensor) -> Tensor:
        """`[1, n_feats, h, w]` -> the same shape."""
        out: Tensor = self.body(x)
        return x + (out if self.res_scale == 1 else out * self.res_scale)


def refuse_upsampler(name: str, no_upsampling: bool) -> None:
    """Refuse an encoder with an upsampler of its own.

    Raises:
        UnsupportedModelError: it has one.
    """
    if not no_upsampling:
        raise UnsupportedModelError(
            f"The {name} encoder has its upsampler (no_upsampling is not true); "
            "implicit models need it without one."
        )


class HeadAndBody(Encoder):
    """A convolution, then parts and a convolution added to it: the structure of EDSR and RCAN."""

    def __init__(self, parts: Iterable[nn.Module], n_feats: int, rgb_range: float) -> None:
        super().__init__()
        self.sub_mean = MeanShift(rgb_range, sign=-1)
        self.add_mean = MeanShift(rgb_range, sign=1)
        self.head = nn.Sequential(conv3(3, n_feats))
        self.body = nn.Sequential(*parts, conv3(n_feats, n_feats))
        self.out_dim = n_feats

    def forward(self, x: Tensor) -> Tensor:
        """`[1, 3, h, w]` in -1 to 1 -> features `[1, out_dim, h, w]`."""
        x = self.head(x)
        out: Tensor = x + self.body(x)
        return out


class EDSR(HeadAndBody):
    """EDSR's head and body; the defaults are the large EDSR."""

    def __init__(
        self,
        n_resblocks: int = 32,
        n_feats: int = 256,
        res_scale: float = 0.1,
        scale: int = 2,  # noqa: ARG002  (part of the published spec; only an upsampler uses it)
        no_upsampling: bool = False,
        rgb_range: float = 1,
    ) -> None:
        refuse_upsampler("EDSR", no_upsampling)
        blocks = (ResBlock(n_feats, res_scale) for _ in range(n_resblocks))
        super().__init__(blocks, n_feats, rgb_range)
        self.halo = 2 * n_resblocks + 2
        self.live_channels = 5 * n_feats

    @classmethod
    def baseline(
        cls,
        n_resblocks: int = 16,
        n_feats: int = 64,
        res_scale: float = 1,
        scale: int = 2,
        no_upsampling: bool = False,
        rgb_range: float = 1,
    ) -> EDSR:
        """The small EDSR: 16 blocks of 64 channels, residuals not scaled."""
        return cls(n_resblocks, n_feats, res_scale, scale, no_upsampling, rgb_range)
