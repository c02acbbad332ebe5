"""What a patch of output pixels needs to know along one axis of a stage's grid.

Positions come from exact integer arithmetic (`grid.geometry`) on the host and become float32 only
as small offsets and weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from clit_deploy.grid.geometry import Axis, GroupedOutputs, Span

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True)
class DenseAxis:
    """The outputs of a patch along one axis, grouped by the grid pixel that is nearest.

    `m` grid pixels are nearest to some output, each with `n` slots for outputs. The strip of grid
    pixels around them that attention reads has `m + 2r` pixels, and one more at either end for the
    3x3 convolutions.
    """

    features: Tensor
    """Bilinear weights of the strip's pixels (its two ends included) over the low-resolution
    features, `[m + 2r + 2, low]`; rows of pixels that are outside the grid are zero."""
    inside: Tensor
    """1 for the strip's pixels that are inside the grid, else 0, `[m + 2r]`."""
    queries: Tensor
    """Bilinear weights of the slots over the strip, zeros outside the grid, `[m * n, m + 2r]`."""
    offset: Tensor
    """From the window's pixels to the slots' outputs in half grid pixels, `[m, n, 2r + 1]`."""
    slots: Tensor
    """The slot of every output of the patch, `[outputs]`."""
    m: int
    n: int

    @classmethod
    def of(
        cls, low: int, grid: int, size: int, outputs: Span, r: int, device: torch.device
    ) -> DenseAxis:
        """The patch `outputs` of `size` output pixels, over a grid over `low` feature pixels."""
        axis = Axis(grid, size)
        grouped = GroupedOutputs.sort(axis, outputs, "pixel")
        strip = grouped.cells.grow(r, r)
        wide = strip.grow(1, 1)
        pixel = np.arange(wide.start, wide.stop)
        inside = (pixel >= 0) & (pixel < grid)
        features = bilinear_matrix(Axis(low, grid), wide, Span(0, low))
        features[~inside] = 0
        # Slots that repeat an output repeat its row.
        queries = bilinear_matrix(axis, outputs, strip)[grouped.index - outputs.start]
        window = grouped.pixels()[..., None] + np.arange(-r, r + 1)

        def on(array: NDArray[np.float64]) -> Tensor:
            return to_device(torch.from_numpy(array.astype(np.float32)), device)

        return cls(
            on(features),
            on(inside[1:-1].astype(np.float64)),
            on(queries.reshape(-1, len(strip))),
            on(grouped.offset(window)),
            to_device(torch.from_numpy(grouped.gather), device),
            len(grouped.cells),
            grouped.n,
        )


def bilinear_matrix(
    axis: Axis, outputs: Span, pixels: Span, *, border: bool = False
) -> NDArray[np.float64]:
    """Weights of the outputs over grid pixels, `[len(outputs), len(pixels)]`.

    What lies outside `pixels` counts as zero, or, with `border`, as the nearest pixel.
    """
    lower, upper_weight = axis.bilinear(outputs)
    matrix = np.zeros((len(outputs), len(pixels)))
    row = np.arange(len(outputs))
    for pixel, weight in ((lower, 1 - upper_weight), (lower + 1, upper_weight)):
        column = pixel - pixels.start
        if border:
            column = column.clip(0, len(pixels) - 1)
        held = (column >= 0) & (column < len(pixels))
        np.add.at(matrix, (row[held], column[held]), weight[held])
    return matrix


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy to a device; to a GPU without waiting for it."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
