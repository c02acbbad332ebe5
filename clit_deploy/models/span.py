"""SPAN without its upsampler (Wan et al., CVPRW 2024), its 3x3 convolutions already merged."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from clit_deploy.models.bounds import Bounds
from clit_deploy.models.edsr import RGB_MEAN, conv3, refuse_upsampler
from clit_deploy.models.implicit_model import Encoder


class SpanBlock(nn.Module):
    """Three convolutions whose output is also its own weight: attention without parameters.

    With `o` the last convolution's output, the result is `(o + x) * (sigmoid(o) - 1/2)`
    (equations 3 to 5 of the paper).
    """

    def __init__(self, n_feats: int, *, bounded: bool = False) -> None:
        super().__init__()
        self.c1_r = conv3(n_feats, n_feats)
        self.c2_r = conv3(n_feats, n_feats)
        self.c3_r = conv3(n_feats, n_feats)
        self.first_bounds = Bounds(n_feats) if bounded else nn.Identity()
        self.bounds = Bounds(n_feats) if bounded else nn.Identity()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`[1, n_feats, h, w]` -> the block's output and its first activation, of that shape."""
        first = self.first_bounds(functional.silu(self.c1_r(x)))
        out = self.c3_r(functional.silu(self.c2_r(first)))
        return self.bounds((out + x) * (torch.sigmoid(out) - 0.5)), first


class SPAN(Encoder):
    """A convolution, `n_blocks` blocks, and a 1x1 convolution over four of the levels.

    Published SPAN weights for deployment have one 3x3 convolution where training used several
    parallel ones; this is that form, with its names. A block multiplies by its own output, so on
    images unlike any photograph (noise, dithering) features grow a thousandfold and rounding
    decides the result. `bounded`, which published networks are not, keeps every channel of the
    blocks' outputs and first activations within its range on photographs.
    """

    mean: Tensor

    def __init__(
        self,
        n_feats: int = 48,
        n_blocks: int = 6,
        img_range: float = 255,
        no_upsampling: bool = True,
        bounded: bool = False,
    ) -> None:
        refuse_upsampler("SPAN", no_upsampling)
        super().__init__()
        self.conv_1 = conv3(3, n_feats)
        for k in range(1, n_blocks + 1):
            self.add_module(f"block_{k}", SpanBlock(n_feats, bounded=bounded))
        self.conv_2 = conv3(n_feats, n_feats)
        self.conv_cat = nn.Conv2d(4 * n_feats, n_feats, 1)
        self.register_buffer("mean", torch.tensor(RGB_MEAN).reshape(1, 3, 1, 1), persistent=False)
        self.n_blocks, self.img_range = n_blocks, img_range
        self.out_dim, self.halo, self.live_channels = n_feats, 3 * n_blocks + 2, 5 * n_feats

    def forward(self, x: Tensor) -> Tensor:
        """`[1, 3, h, w]` in -1 to 1 -> features `[1, out_dim, h, w]`."""
        head = self.conv_1(((x + 1) / 2 - self.mean) * self.img_range)
        y, first = self.get_submodule("block_1")(head)
        early = y
        for k in range(2, self.n_blocks + 1):
            y, first = self.get_submodule(f"block_{k}")(y)
        out: Tensor = self.conv_cat(torch.cat([head, self.conv_2(y), early, first], dim=1))
        return out
