"""Attention heads that look at places, not at content, and what can be read from them.

The position bias of such a head is a smooth function of the offset alone. The attention to the
pixels of a window then says where in its grid cell an output lies, so that sums of them give the
offset itself and the bilinear interpolation of the values.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

STEPS = 600
"""Steps of the fit: the bilinear weights are then within a quarter of a percent."""
PLACES = 21
"""Offsets along each axis at which the fit is measured."""
WIDTHS = (0.35, 1.2, 0.7, 0.2)
"""How sharply the heads look at first, in powers of e at a distance of half a pixel."""
BILINEAR = 100.0
"""What the error of the bilinear weights counts beside that of the offset: it becomes color."""


@dataclass(frozen=True)
class PlaceHeads:
    """Heads of a window of side `2r + 1`, whose pixels are in row-first order."""

    waves: Tensor
    """Weights of the sines and cosines along either axis in the position bias, `[heads, 2n]`."""
    bilinear: Tensor
    """The bilinear weight of each pixel of the window, from the heads' attention to it: one share
    for each head, `[heads, window]`."""
    offset: Tensor
    """The row and the column offset from the nearest pixel, in half grid pixels, as a sum over all
    the attention, `[heads, window, 2]`."""
    errors: tuple[float, float]
    """Root mean square error of the bilinear weights and of the offset."""


def fit_place_heads(frequencies: Tensor, heads: int, r: int) -> PlaceHeads:
    """Find position biases from which offset and bilinear weights can be read.

    Args:
        frequencies: of the sinusoids, `[n]`, radians per half grid pixel.
        heads: how many heads there are.
        r: radius of their window.
    """
    frequencies = frequencies.detach().cpu().float()
    fit = _Fit(frequencies, heads, r)
    waves = fit.start().requires_grad_()
    optimizer = torch.optim.Adam([waves], 2e-2)
    for _ in range(STEPS):
        bilinear, offset, _, _ = fit.read(waves)
        loss = BILINEAR * bilinear + offset
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        bilinear, offset, shares, sums = fit.read(waves)
        errors = float(bilinear.sqrt()), float(offset.sqrt())
        return PlaceHeads(waves.detach() * fit.damping, shares, sums, errors)


class _Fit:
    """The attention of place heads at a lattice of offsets, and linear readings of it."""

    def __init__(self, frequencies: Tensor, heads: int, r: int) -> None:
        self.frequencies, self.heads, self.side = frequencies, heads, 2 * r + 1
        # High frequencies begin, and stay, weak: the bias should be smooth.
        self.damping = (1 / (1 + frequencies**2)).repeat(2)
        self.pixels = 2.0 * torch.arange(-r, r + 1)
        self.along = along = torch.linspace(-1, 1, PLACES)
        self.targets = torch.stack(torch.meshgrid(along, along, indexing="ij"), -1).reshape(-1, 2)
        near = (1 - (along[:, None] - self.pixels).abs() / 2).clamp(min=0)
        self.weights = torch.einsum("yi,xj->yxij", near, near).reshape(PLACES**2, -1)

    def _waves(self, distance: Tensor) -> Tensor:
        angle = distance[..., None] * self.frequencies
        return torch.cat([angle.sin(), angle.cos()], dim=-1) * self.damping

    def start(self) -> Tensor:
        """Biases that fall with the square of the distance, some faster than others."""
        distance = torch.linspace(-self.side, self.side, 200)
        basis = torch.cat([self._waves(distance), torch.ones(200, 1)], dim=1)
        wanted = torch.stack([-WIDTHS[h % len(WIDTHS)] * distance**2 for h in range(self.heads)], 1)
        # gelsd: the lowest frequencies are nearly the same function.
        found: Tensor = torch.linalg.lstsq(basis, wanted, driver="gelsd").solution
        return found[:-1].T.contiguous()

    def read(self, waves: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Both mean square errors, and the best linear readings."""
        bias = self._waves(self.along[:, None] - self.pixels) @ waves.T
        one = bias.softmax(dim=1)  # a softmax of sums over both axes is a product
        both = torch.einsum("yih,xjh->hyxij", one, one).reshape(self.heads, PLACES**2, -1)
        by_pixel = both.permute(2, 1, 0)
        wanted = self.weights.T[..., None]
        shares = _solve(by_pixel, wanted, 1e-4)
        together = both.transpose(0, 1).reshape(PLACES**2, -1)
        sums = _solve(together, self.targets, 1e-3)
        return (
            (by_pixel @ shares - wanted).pow(2).mean(),
            (together @ sums - self.targets).pow(2).mean(),
            shares[..., 0].T,
            sums.reshape(self.heads, -1, 2),
        )


def _solve(basis: Tensor, wanted: Tensor, ridge: float) -> Tensor:
    """Least squares with a small ridge, which keeps the coefficients small."""
    square = basis.mT @ basis + ridge * torch.eye(basis.shape[-1])
    found: Tensor = torch.linalg.solve(square, basis.mT @ wanted)
    return found
