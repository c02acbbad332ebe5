"""The image that a model gives for a patch, by the form that its family has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from clit_deploy.grid.geometry import Axis, Span
from clit_deploy.models.clit import CLIT
from clit_deploy.models.liif import LIIF
from clit_deploy.training.dense_axis import DenseAxis, bilinear_matrix, to_device
from clit_deploy.training.dense_clit import dense_stage
from clit_deploy.training.dense_liif import dense_liif
from clit_deploy.training.per_query import every_place, query_places

if TYPE_CHECKING:
    from typing import TypeGuard

    from torch import Tensor

    from clit_deploy.models.implicit_model import ImplicitModel
    from clit_deploy.training.patch import Patch


def is_dense(model: ImplicitModel) -> TypeGuard[CLIT | LIIF]:
    """Whether the patches of a model's family are decoded at once, or place by place."""
    return isinstance(model, (CLIT, LIIF))


def decoder_input(model: ImplicitModel, image: Tensor) -> Tensor:
    """What decoding starts from, `[b, channels, low, low]`, for a batch of crops.

    The encoder's features; for CLIT, after the convolution that all its stages share.
    """
    features = model.encoder(image)
    wide: Tensor = model.conv_ch(features) if isinstance(model, CLIT) else features
    return wide.float()


def dense_answer(model: CLIT | LIIF, start: Tensor, image: Tensor, patch: Patch) -> Tensor:
    """The colors of a patch of every image, `[b, 3, rows, cols]`, -1 to 1, float32.

    Args:
        model: the network.
        start: its `decoder_input`, `[b, channels, low, low]`.
        image: the crops, `[b, 3, low, low]`, -1 to 1.
        patch: which outputs, and through which cascade.
    """
    if isinstance(model, LIIF):
        return dense_liif(model, start, patch)
    residual = image.new_zeros(1)
    for stage in range(len(patch.factors)):
        grid = patch.grid(stage)
        rows, cols = (
            DenseAxis.of(patch.low, grid, patch.size, span, model.r, image.device)
            for span in (patch.rows, patch.cols)
        )
        step = Axis(grid, patch.size).step
        residual = dense_stage(model, start, rows, cols, stage, step) + model.decay * residual
    return residual + _enlarged(image, patch)


def _enlarged(image: Tensor, patch: Patch) -> Tensor:
    """The bilinear enlargement of the crops."""
    rows, cols = (
        to_device(
            torch.from_numpy(
                bilinear_matrix(
                    Axis(patch.low, patch.size), span, Span(0, patch.low), border=True
                ).astype("float32")
            ),
            image.device,
        )
        for span in (patch.rows, patch.cols)
    )
    with torch.autocast(image.device.type, enabled=False):
        return rows @ image @ cols.T


def answer(model: ImplicitModel, image: Tensor, patch: Patch) -> Tensor:
    """The colors of a patch of every image, `[b, 3, rows, cols]`, -1 to 1, by either form."""
    start = decoder_input(model, image)
    if is_dense(model):
        return dense_answer(model, start, image, patch)
    places = every_place(patch, image.device)
    shape = len(patch.rows), len(patch.cols), 3
    with torch.autocast(image.device.type, enabled=False):
        found = [
            query_places(model, start[k : k + 1], image[k : k + 1], patch, places).reshape(shape)
            for k in range(len(image))
        ]
    return torch.stack(found).permute(0, 3, 1, 2)
