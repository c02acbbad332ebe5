"""CLIT's stages over dense patches of output pixels, grouped by grid pixel, for a batch at once.

The per-query form (`models.clit`) is the definition; this is the same function for a patch, in the
order of the deployed graphs: windows are slices, the position bias splits into rows and columns
where the encoding allows it, and resampling is a product with one matrix per axis. Under
`torch.autocast` products run in bfloat16; positions, resampling weights and softmax do not.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from torch.nn import functional

from clit_deploy.models.posenc import Sinusoid

if TYPE_CHECKING:
    from clit_deploy.models.clit import CLIT
    from clit_deploy.models.posenc import PositionEncoding
    from clit_deploy.training.dense_axis import DenseAxis

SHARED_FROM = 5
"""Outputs of a grid pixel from which the first layer's products with its window are computed once
for all of them; they are a larger array than the weighted values of four outputs."""


def dense_stage(
    model: CLIT, wide: Tensor, rows: DenseAxis, cols: DenseAxis, stage: int, step: float
) -> Tensor:
    """A stage's residual for a patch.

    Args:
        model: the network, whose weights get the gradients.
        wide: its `conv_ch` of the encoder's features, `[b, dim, low, low]`.
        rows: the patch's rows on the stage's grid.
        cols: the patch's columns.
        stage: index of the stage.
        step: size of an output pixel in half grid pixels.

    Returns: `[b, 3, len(rows.slots), len(cols.slots)]` in float32, in the network's own domain.
    """
    q, k, v = _maps(model, wide, rows, cols, stage)
    queries = _resample(q, rows.queries, cols.queries)
    attention = _attention(model, queries, k, rows, cols, step)
    hidden = _first_layer(model, attention, v, rows, cols, stage, step)
    rgb: Tensor = model.mlp(stage).layers[1:](hidden).float()
    b = len(wide)
    rgb = rgb.reshape(b, rows.m, cols.m, rows.n, cols.n, 3).permute(0, 5, 1, 3, 2, 4)
    rgb = rgb.reshape(b, 3, rows.m * rows.n, cols.m * cols.n)
    return rgb.index_select(2, rows.slots).index_select(3, cols.slots)


def _maps(
    model: CLIT, wide: Tensor, rows: DenseAxis, cols: DenseAxis, stage: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of the strip's pixels, zero outside the grid."""
    features = _resample(wide, rows.features, cols.features)
    convs = model.qkv(stage)
    weight = torch.cat([conv.weight for conv in convs])
    bias = torch.cat([cast("Tensor", conv.bias) for conv in convs])
    maps = functional.conv2d(features, weight, bias)
    inside = rows.inside[:, None] * cols.inside
    q, k, v = (maps * inside.to(maps.dtype)).chunk(3, dim=1)
    return q, k, v


def _resample(maps: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """`[b, c, i, j]` by a matrix for either axis: `[b, c, len(rows), len(cols)]`."""
    with torch.autocast(maps.device.type, enabled=False):
        half = rows @ maps.float()
        return half @ cols.T


def _attention(
    model: CLIT, queries: Tensor, keys: Tensor, rows: DenseAxis, cols: DenseAxis, step: float
) -> Tensor:
    """Softmax over the window for every output, `[b * cells, heads, outputs, window]`."""
    b, dim = queries.shape[:2]
    heads, channels = model.head, dim // model.head
    grouped = queries.reshape(b, heads, channels, rows.m, rows.n, cols.m, cols.n)
    grouped = grouped.permute(0, 3, 5, 1, 4, 6, 2)
    grouped = grouped.reshape(-1, heads, rows.n * cols.n, channels)
    window = _windows(keys, model.r).reshape(len(grouped), -1, heads, channels)
    logits = (grouped / math.sqrt(channels)) @ window.permute(0, 2, 3, 1)
    with torch.autocast(queries.device.type, enabled=False):
        bias = _bias(model, rows, cols, step)
        logits = logits.float().reshape(b, -1, heads, rows.n * cols.n, logits.shape[-1])
        if bias is not None:
            logits = logits + bias
        return logits.softmax(dim=-1).flatten(0, 1)


def _windows(maps: Tensor, r: int) -> Tensor:
    """The window around every pixel but the outer `r`: `[b, m, m', window, c]`."""
    side = 2 * r + 1
    rows, cols = (length - 2 * r for length in maps.shape[2:])
    last = maps.permute(0, 2, 3, 1)
    slices = [last[:, i : i + rows, j : j + cols] for i in range(side) for j in range(side)]
    return torch.stack(slices, dim=3)


def _bias(model: CLIT, rows: DenseAxis, cols: DenseAxis, step: float) -> Tensor | None:
    """The position bias of all windows, `[cells, heads, outputs, window]`, in float32."""
    encoding = model.pb_encoder
    if encoding is None:
        return None
    if isinstance(encoding, Sinusoid):
        across = (_axis_bias(encoding, axis.offset, k, step) for k, axis in enumerate((rows, cols)))
        by, bx = across
        pairs = by[:, None, :, None, :, None] + bx[None, :, None, :, None, :] + encoding.proj.bias
    else:
        pairs = _pair_bias(encoding, rows.offset, cols.offset, step)
    # [m, m', n, n', side, side', heads] -> [cells, heads, outputs, window]
    pairs = pairs.permute(0, 1, 6, 2, 3, 4, 5)
    return pairs.reshape(rows.m * cols.m, model.head, rows.n * cols.n, -1)


def _axis_bias(encoding: Sinusoid, offset: Tensor, axis: int, step: float) -> Tensor:
    """What one axis (0 for rows) adds to the bias: the encoding's waves are along either."""
    weight = encoding.proj.weight
    count = len(encoding.frequencies)
    own = slice(axis * count, (axis + 1) * count)
    sines, cosines = weight[:, own], weight[:, 2 * count :][:, own]
    angle = offset[..., None] * encoding.frequencies
    fade = encoding.amplitude(offset.new_tensor([step, step]))
    if encoding.damped:
        fade = fade[:, own]
    return (angle.sin() * fade) @ sines.T + (angle.cos() * fade) @ cosines.T


def _pair_bias(encoding: PositionEncoding, rows: Tensor, cols: Tensor, step: float) -> Tensor:
    """The bias of an encoding that does not split: every row offset with every column offset."""
    shape = (len(rows), len(cols), rows.shape[1], cols.shape[1], rows.shape[2], cols.shape[2])
    down = rows[:, None, :, None, :, None].expand(shape)
    across = cols[None, :, None, :, None, :].expand(shape)
    offset = torch.stack([down, across], dim=-1)
    found = encoding.bias(
        offset.reshape(-1, shape[-2] * shape[-1], 2), offset.new_tensor([step, step])
    )
    return found.reshape(*shape, -1)


def _first_layer(
    model: CLIT,
    attention: Tensor,
    values: Tensor,
    rows: DenseAxis,
    cols: DenseAxis,
    stage: int,
    step: float,
) -> Tensor:
    """The MLP's first layer before its activation, `[b * cells, outputs, hidden]`.

    `W sum_j a_j v_j` is computed as it stands for few outputs a grid pixel, and as
    `sum_j a_j (W_j v_j)`, the bracket once per grid pixel, for many (design.md, section 3).
    """
    first = model.mlp(stage).linears[0]
    area = (2 * model.r + 1) ** 2
    weight: Tensor = first.weight[:, : area * model.dim]
    weight = weight.reshape(-1, area, model.head, model.dim // model.head)
    bias: Tensor = first.bias
    if model.is_cell:
        with torch.autocast(attention.device.type, enabled=False):
            bias = bias + first.weight[:, area * model.dim :].sum(dim=1) * step
    form = _once_a_query if rows.n * cols.n < SHARED_FROM else _once_a_pixel
    products = form(attention.to(values.dtype), values, weight, model.r)
    return products + bias.to(products.dtype)


def _once_a_query(attention: Tensor, values: Tensor, weight: Tensor, r: int) -> Tensor:
    """Weighted values, then the layer; grid pixels innermost, so that vectors are long."""
    dim = values.shape[1]
    hidden, _, heads, channels = weight.shape
    cells, outputs = len(attention), attention.shape[2]
    side = 2 * r + 1
    rows, cols = (length - 2 * r for length in values.shape[2:])
    planes = values.transpose(0, 1)
    slices = [planes[:, :, i : i + rows, j : j + cols] for i in range(side) for j in range(side)]
    window = torch.stack(slices, dim=1).reshape(heads, channels, side * side, 1, cells)
    shares = attention.permute(1, 3, 2, 0)[:, None]
    weighted = (shares.contiguous() * window).reshape(dim * side * side, outputs * cells)
    products = weight.permute(0, 2, 3, 1).reshape(hidden, -1) @ weighted
    return products.reshape(hidden, outputs, cells).permute(2, 1, 0)


def _once_a_pixel(attention: Tensor, values: Tensor, weight: Tensor, r: int) -> Tensor:
    """The layer for each place of the window and each head, then the weighted sum."""
    hidden, area, heads, channels = weight.shape
    cells = len(attention)
    window = _windows(values, r).reshape(cells, area * heads, channels).transpose(0, 1)
    by_place = weight.permute(1, 2, 3, 0).reshape(area * heads, channels, hidden)
    packed = values.device.type == "cpu" and values.dtype == torch.bfloat16
    if packed:  # oneDNN copies strided operands of bfloat16 slowly
        window = window.contiguous()
    products = torch.bmm(window, by_place).transpose(0, 1)
    shares = attention.permute(0, 2, 3, 1).flatten(2)
    return torch.bmm(shares, products.contiguous() if packed else products)
