"""Limits of features, channel by channel, taken from images that a network knows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Bounds(nn.Module):
    """Keeps each channel of `[1, channels, h, w]` within its range; at first it has no limits."""

    low: Tensor
    high: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("low", torch.full((channels, 1, 1), -math.inf))
        self.register_buffer("high", torch.full((channels, 1, 1), math.inf))
        self.measuring = False

    def forward(self, x: Tensor) -> Tensor:
        """The features within the limits; while `measure_bounds` runs, the features as they are."""
        if self.measuring:
            values = x.transpose(0, 1).flatten(1)
            self.low.copy_(torch.minimum(self.low, values.amin(1)[:, None, None]))
            self.high.copy_(torch.maximum(self.high, values.amax(1)[:, None, None]))
            return x
        return torch.clamp(x, self.low, self.high)


def lacks_bounds(network: nn.Module) -> bool:
    """Whether a network has bounds that were never measured."""
    return any(bool(bounds.low.isneginf().all()) for bounds in _all(network))


def with_bounds(network: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a network, completed with its bounds where they are of one without bounds."""
    own = {
        f"{name}.{key}": value
        for name, module in network.named_modules()
        if isinstance(module, Bounds)
        for key, value in module.state_dict().items()
    }
    return {**own, **weights}


@torch.no_grad()
def measure_bounds(network: nn.Module, images: Iterable[Tensor]) -> None:
    """Set all bounds of a network to the ranges of its features on images, in place.

    Args:
        images: what the network takes, `[1, 3, h, w]` each.
    """
    found = _all(network)
    for bounds in found:
        bounds.low.fill_(math.inf)
        bounds.high.fill_(-math.inf)
        bounds.measuring = True
    try:
        for image in images:
            network(image)
    finally:
        for bounds in found:
            bounds.measuring = False


def _all(network: nn.Module) -> list[Bounds]:
    return [module for module in network.modules() if isinstance(module, Bounds)]
