"""LIIF over dense patches of output pixels, for a batch at once.

The per-query form (`models.liif`) is the definition; this is the same function for a patch. The
first layer is linear in the features, the offset and the cell, so its product with the features
(unfolded, a 3x3 convolution) is computed once a pixel, and the one with the offsets once a row and
once a column.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from clit_deploy.grid.geometry import Axis
from clit_deploy.training.dense_axis import to_device

if TYPE_CHECKING:
    from torch import Tensor

    from clit_deploy.grid.geometry import Span
    from clit_deploy.models.liif import LIIF
    from clit_deploy.training.patch import Patch


@dataclass(frozen=True)
class _Near:
    """One neighboring pixel along an axis, of every output."""

    pixel: Tensor
    """int64 `[outputs]`."""
    offset: Tensor
    """From its center to the output, in half pixels, float32 `[outputs, 1]`."""
    share: Tensor
    """Its weight in the blend (LIIF, equation 4), float32 `[outputs]`."""


def dense_liif(model: LIIF, features: Tensor, patch: Patch) -> Tensor:
    """The colors of a patch of every image, `[b, 3, rows, cols]`, -1 to 1, float32.

    Args:
        model: the network, whose weights get the gradients.
        features: of the encoder, `[b, channels, low, low]`.
        patch: which outputs.
    """
    axis = Axis(patch.low, patch.size)
    rows, cols = (
        _neighbors(axis, span, model.local_ensemble, features.device)
        for span in (patch.rows, patch.cols)
    )
    maps, offset_weight, bias = _first_layer(model, features, axis.step)
    rgb = features.new_zeros(len(features), len(patch.rows), len(patch.cols), 3)
    for row, col in itertools.product(rows, cols):
        place = (row.pixel[:, None] * patch.low + col.pixel).flatten()
        # In float32: an offset tells apart outputs of one pixel, whose features are the same.
        with torch.autocast(features.device.type, enabled=False):
            down = row.offset * offset_weight[:, 0] + bias
            across = col.offset * offset_weight[:, 1]
            moved = (down[:, None] + across).flatten(0, 1)
            hidden = maps.index_select(1, place).float() + moved
        colors = model.imnet.layers[1:](hidden).float().reshape(rgb.shape)
        rgb = rgb + colors * (row.share[:, None] * col.share)[..., None]
    return rgb.permute(0, 3, 1, 2)


def _first_layer(model: LIIF, features: Tensor, step: float) -> tuple[Tensor, Tensor, Tensor]:
    """Its product with the features `[b, low * low, hidden]`, the weight of the offsets
    `[hidden, 2]`, and the bias `[hidden]` with the cell in it."""
    first = model.imnet.linears[0]
    kernel = 3 if model.feat_unfold else 1
    count = features.shape[1] * kernel**2
    weight: Tensor = first.weight
    of_features = weight[:, :count].reshape(-1, features.shape[1], kernel, kernel)
    maps = functional.conv2d(features, of_features, padding=kernel // 2)
    bias: Tensor = first.bias
    if model.cell_decode:
        bias = bias + weight[:, count + 2 :].sum(dim=1) * step
    return maps.flatten(2).transpose(1, 2).contiguous(), weight[:, count : count + 2], bias


def _neighbors(axis: Axis, outputs: Span, ensemble: bool, device: torch.device) -> list[_Near]:
    """The two pixels around every output (one of them twice at the border), or the nearest one."""
    if ensemble:
        lower, _ = axis.bilinear(outputs)
        pixels = [pixel.clip(0, axis.grid - 1) for pixel in (lower, lower + 1)]
    else:
        pixels = [axis.cells(outputs, "pixel")]
    index = np.arange(outputs.start, outputs.stop)
    offsets = [axis.offset(index, pixel) for pixel in pixels]
    far = np.stack([np.abs(offset) for offset in offsets[::-1]]) + 1e-9
    return [
        _Near(
            to_device(torch.from_numpy(pixel), device),
            to_device(torch.from_numpy(offset.astype(np.float32)), device)[:, None],
            to_device(torch.from_numpy(share.astype(np.float32)), device),
        )
        for pixel, offset, share in zip(pixels, offsets, far / far.sum(axis=0), strict=True)
    ]
