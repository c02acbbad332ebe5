"""Begins a CLIT as the LIIF that it is to replace.

LIIF asks its MLP about the four nearest grid pixels and blends the answers; CLIT asks once. With
the weights set here, its first stage gives what LIIF's MLP says of the nearest pixel, and only
the blend is left to learn:

- the first heads look at the window evenly and carry the features, which the first layer reads as
  LIIF's reads its unfolded neighborhood;
- the other heads look at places (`place_heads`): from them the first layer has the offset, and the
  bilinear enlargement of the colors, which a convolution finds in the features;
- CLIT adds that enlargement to its answer and LIIF does not, so three units carry it through the
  layers, and the last one takes it away.

Channels and units that LIIF does not fill keep the random weights of a new model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch.nn import functional

from clit_deploy.errors import TrainingError
from clit_deploy.models.clit import CLIT
from clit_deploy.models.liif import LIIF
from clit_deploy.models.posenc import Sinusoid
from clit_deploy.training.place_heads import PlaceHeads, fit_place_heads

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from clit_deploy.models.implicit_model import ImplicitModel

COLORS = 3
LIFT = 1.2
"""Added to colors, -1 to 1 with some overshoot, so that a ReLU leaves them alone."""
RIDGE = 1e-4
"""Added to the squares of the features, where few images leave the convolution open."""
PLACE_CHANNELS = 1 + COLORS
"""Channels that a place head needs: a one, and the colors."""


@dataclass(frozen=True)
class _Layout:
    """How the channels of a CLIT are shared between features and places."""

    features: int
    """Channels of the encoder; they come first."""
    width: int
    """Channels of a head."""
    heads: int
    """Heads in all."""
    side: int
    """Pixels along a side of the window."""

    @classmethod
    def of(cls, model: CLIT, source: LIIF) -> _Layout:
        return cls(source.encoder.out_dim, model.dim // model.head, model.head, 2 * model.r + 1)

    @property
    def feature_heads(self) -> int:
        return self.features // self.width

    @property
    def place_heads(self) -> int:
        return self.heads - self.feature_heads

    @property
    def ones(self) -> list[int]:
        """The first channel of each place head, which is one everywhere; colors follow it."""
        return [head * self.width for head in range(self.feature_heads, self.heads)]


def check_begins(model: ImplicitModel, source: ImplicitModel, name: str) -> None:
    """Refuse a CLIT that cannot begin as a model.

    Args:
        model: the network of the recipe.
        source: what it is to begin as.
        name: what messages call the source.

    Raises:
        TrainingError: what does not fit, and what would.
    """
    found = _misfit(model, source)
    if found:
        raise TrainingError(f"The model of the recipe cannot begin as {name}: {found}.")


def _misfit(model: ImplicitModel, source: ImplicitModel) -> str:
    if not isinstance(model, CLIT):
        return "only a CLIT can"
    if not isinstance(source, LIIF) or not source.feat_unfold:
        return "it is not a LIIF with unfolded features"
    layout = _Layout.of(model, source)
    shapes, own_shapes = (
        {key: value.shape for key, value in m.encoder.state_dict().items()} for m in (source, model)
    )
    if shapes != own_shapes:
        return "its encoder is another one than the recipe's"
    whole = layout.features % layout.width == 0
    if not whole or layout.place_heads < 1 or layout.width < PLACE_CHANNELS:
        return (
            f"its {layout.features} channels must fill whole heads and leave at least one, of "
            f"{PLACE_CHANNELS} channels or more; the recipe has {layout.heads} heads of "
            f"{layout.width}"
        )
    if not isinstance(model.pb_encoder, Sinusoid) or model.pb_encoder.damped:
        return "the recipe needs the position encoding 'sinusoid'"
    own = [layer.out_features for layer in model.mlp(0).linears[:-1]]
    wanted = [layer.out_features + COLORS for layer in source.imnet.linears[:-1]]
    if model.mlp(0).act != "relu" or source.imnet.act != "relu" or len(own) != len(wanted):
        return f"its MLP has {len(wanted)} hidden layers with ReLU, and the recipe's needs the same"
    if any(a < b for a, b in zip(own, wanted, strict=True)):
        return f"hidden_list in the recipe must be at least {wanted}"
    return ""


@torch.no_grad()
def begin_as_liif(model: CLIT, source: LIIF, images: Iterable[Tensor]) -> None:
    """Give the encoder and the first stage of a CLIT the weights of a LIIF, in place.

    Args:
        model: the network, which `check_begins` has let pass, on any device.
        source: the LIIF, on the same device.
        images: crops `[b, 3, h, w]`, -1 to 1, from which is learned how the features show colors.
    """
    model.encoder.load_state_dict(source.encoder.state_dict())
    layout = _Layout.of(model, source)
    position = cast("Sinusoid", model.pb_encoder)
    with torch.enable_grad():
        places = fit_place_heads(position.frequencies, layout.place_heads, model.r)
    _set_bias(position, places, layout)
    _set_convolutions(model, source, images, layout)
    _set_mlp(model, source, places, layout)


def _set_bias(position: Sinusoid, places: PlaceHeads, layout: _Layout) -> None:
    """An even look for the heads of the features, the fitted one for the others."""
    sines, cosines = places.waves.chunk(2, dim=1)
    position.proj.weight.zero_()
    position.proj.bias.zero_()
    position.proj.weight[layout.feature_heads :] = torch.cat(
        [sines, sines, cosines, cosines], dim=1
    ).to(position.proj.weight)


def _set_convolutions(model: CLIT, source: LIIF, images: Iterable[Tensor], layout: _Layout) -> None:
    """Features as they are, then colors; keys that say nothing yet; values for all heads."""
    features = layout.features
    colors = slice(features, features + COLORS)
    shared, (query, key, value) = model.conv_ch, model.qkv(0)
    for zeroed in (shared.bias, query.bias, key.weight, key.bias, value.bias):
        cast("Tensor", zeroed).zero_()
    weight, bias, deviation = _colors_in_features(source, images)
    shared.weight /= max(deviation, 1e-3)  # what stays random should be as large as the rest
    shared.weight[: colors.stop] = 0
    shared.weight[range(features), range(features), 1, 1] = 1
    shared.weight[colors] = weight
    cast("Tensor", shared.bias)[colors] = bias
    value.weight[:features] = 0
    value.weight[range(features), range(features), 1, 1] = layout.side
    for one in layout.ones:
        value.weight[one : one + PLACE_CHANNELS] = 0
        value.weight[range(one + 1, one + PLACE_CHANNELS), range(features, colors.stop), 1, 1] = 1
        cast("Tensor", value.bias)[one] = 1


def _colors_in_features(source: LIIF, images: Iterable[Tensor]) -> tuple[Tensor, Tensor, float]:
    """A 3x3 convolution that finds an image in its features, and the deviation of features.

    Returns: its weight `[3, channels, 3, 3]`, its bias `[3]`, and the deviation.
    """
    count = 9 * source.encoder.out_dim
    square = torch.zeros(count + 1, count + 1, dtype=torch.float64)
    product = torch.zeros(count + 1, COLORS, dtype=torch.float64)
    for image in images:
        around = functional.unfold(source.encoder(image), 3).transpose(1, 2).flatten(0, 1)
        basis = functional.pad(around, [0, 1], value=1.0).cpu().double()
        colors = image[:, :, 1:-1, 1:-1].permute(0, 2, 3, 1).reshape(-1, COLORS).cpu().double()
        square += basis.T @ basis
        product += basis.T @ colors
    seen = float(square[-1, -1])
    mean = square[-1, :-1] / seen
    deviation = float((square.diagonal()[:-1] / seen - mean**2).mean().clamp(min=0).sqrt())
    square += RIDGE * torch.eye(count + 1, dtype=torch.float64)
    found = torch.linalg.solve(square, product).T
    return found[:, :-1].reshape(COLORS, -1, 3, 3).float(), found[:, -1].float(), deviation


def _set_mlp(model: CLIT, source: LIIF, places: PlaceHeads, layout: _Layout) -> None:
    """LIIF's layers, and three units beside them that carry the colors."""
    pairs = list(zip(model.mlp(0).linears, source.imnet.linears, strict=True))
    for own, published in pairs[:-1]:
        units = len(published.weight)
        own.weight[: units + COLORS] = 0
        own.bias.zero_()
        own.bias[:units] = published.bias
    _set_first_layer(model, source, places, layout)
    for own, published in pairs[1:-1]:
        units, inputs = published.weight.shape
        own.weight[:units, :inputs] = published.weight
        own.weight[range(units, units + COLORS), range(inputs, inputs + COLORS)] = 1
    own, published = pairs[-1]
    inputs = published.weight.shape[1]
    own.weight.zero_()
    own.weight[:, :inputs] = published.weight
    own.weight[range(COLORS), range(inputs, inputs + COLORS)] = -1
    own.bias[:] = published.bias + LIFT


def _set_first_layer(model: CLIT, source: LIIF, places: PlaceHeads, layout: _Layout) -> None:
    """Features from the even heads, the offset and the enlarged colors from the place heads."""
    own, published = model.mlp(0).linears[0], source.imnet.linears[0].weight
    features, area = layout.features, layout.side**2
    units = len(published)
    of_features, rest = published[:, : 9 * features], published[:, 9 * features :]
    of_offset, of_cell = rest[:, :2], rest[:, 2:]
    weight = own.weight[:, : area * model.dim].view(-1, area, model.dim)
    around = functional.pad(of_features.reshape(units, features, 3, 3), [model.r - 1] * 4)
    # The even attention is 1 / side^2; values and weights are a side larger each.
    weight[:units, :, :features] = around.flatten(2).transpose(1, 2) * layout.side
    for one, sums, shares in zip(layout.ones, places.offset, places.bilinear, strict=True):
        weight[:units, :, one] = of_offset @ sums.T.to(of_offset)
        for color in range(COLORS):
            weight[units + color, :, one + 1 + color] = shares.to(weight)
    own.bias[units : units + COLORS] = LIFT
    if model.is_cell:
        own.weight[:units, area * model.dim :] = of_cell if source.cell_decode else 0
