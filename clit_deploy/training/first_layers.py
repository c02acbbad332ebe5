"""Keeps the layers that read the image itself in float32 under autocast."""

from __future__ import annotations

import torch
from torch import Tensor, nn

PICTURE_CHANNELS = 3


class Float32Conv2d(nn.Conv2d):
    """A convolution that autocast leaves alone."""

    def forward(self, x: Tensor) -> Tensor:
        """See `torch.nn.Conv2d`."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


def keep_first_layers_exact(encoder: nn.Module) -> None:
    """Make the convolutions of an encoder that take colors `Float32Conv2d`, in place.

    bfloat16 has the 8 bits of a image, so a image from which a mean was subtracted would lose
    its lowest ones. Names and weights stay as they are.
    """
    for module in encoder.modules():
        if type(module) is nn.Conv2d and module.in_channels == PICTURE_CHANNELS:
            module.__class__ = Float32Conv2d
