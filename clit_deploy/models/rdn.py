"""RDN without its upsampler (Zhang et al., CVPR 2018, figure 2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clit_deploy.errors import UnsupportedModelError
from clit_deploy.models.edsr import conv3, refuse_upsampler
from clit_deploy.models.implicit_model import Encoder

CONFIGURATIONS = {"A": (20, 6, 32), "B": (16, 8, 64)}
"""Number of dense blocks, layers of each, channels that a layer adds."""


class DenseLayer(nn.Module):
    """Convolution and ReLU, concatenated with the input."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(conv3(channels, growth), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """`[1, channels, h, w]` -> `[1, channels + growth, h, w]`."""
        return torch.cat([x, self.conv(x)], dim=1)


class DenseBlock(nn.Module):
    """Dense layers, fused by a 1x1 convolution, added to the input."""

    def __init__(self, channels: int, growth: int, layers: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            *(DenseLayer(channels + k * growth, growth) for k in range(layers))
        )
        self.LFF = nn.Conv2d(channels + layers * growth, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`[1, channels, h, w]` -> the same shape."""
        out: Tensor = self.LFF(self.convs(x)) + x
        return out


class RDN(Encoder):
    """Shallow features, dense blocks, and the fusion of all their outputs."""

    def __init__(
        self,
        G0: int = 64,  # noqa: N803  (names of the published spec)
        RDNkSize: int = 3,  # noqa: N803
        RDNconfig: str = "B",  # noqa: N803
        scale: int = 2,  # noqa: ARG002
        no_upsampling: bool = False,
    ) -> None:
        super().__init__()
        refuse_upsampler("RDN", no_upsampling)
        if RDNkSize != 3 or RDNconfig not in CONFIGURATIONS:
            raise UnsupportedModelError(
                f"RDN with kernel {RDNkSize} and configuration {RDNconfig!r:.80} is not supported; "
                f"kernel 3 and {' or '.join(CONFIGURATIONS)} are."
            )
        blocks, layers, growth = CONFIGURATIONS[RDNconfig]
        self.SFENet1, self.SFENet2 = conv3(3, G0), conv3(G0, G0)
        self.RDBs = nn.ModuleList(DenseBlock(G0, growth, layers) for _ in range(blocks))
        self.GFF = nn.Sequential(nn.Conv2d(blocks * G0, G0, 1), conv3(G0, G0))
        self.out_dim = G0
        self.halo = blocks * layers + 3
        self.live_channels = 2 * blocks * G0 + 2 * (G0 + layers * growth)

    def forward(self, x: Tensor) -> Tensor:
        """`[1, 3, h, w]` in -1 to 1 -> features `[1, out_dim, h, w]`."""
        shallow = self.SFENet1(x)
        x = self.SFENet2(shallow)
        found = []
        for block in self.RDBs:
            x = block(x)
            found.append(x)
        out: Tensor = self.GFF(torch.cat(found, dim=1)) + shallow
        return out
