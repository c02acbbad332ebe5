"""The weights of a checkpoint, held against those that its args describe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from clit_deploy.errors import CheckpointError
from clit_deploy.models.spec import listing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clit_deploy.models.implicit_model import ImplicitModel

MAX_GROWTH, SMALL = 8, 64_000_000
"""A file may describe so many times its own bytes, or so many bytes: tensors may share storage."""


def check_shapes(own: Mapping[str, torch.Tensor], found: Mapping[Any, Any], model: str) -> None:
    """Compare the names and shapes of a file's tensors with those that a model has.

    Args:
        own: the model's, on any device.
        found: the file's.
        model: for messages: `LIIF of 'liif' with ... in m.pth`.

    Raises:
        CheckpointError: they differ; the message says what was expected and what was found.
    """
    if not all(isinstance(key, str) for key in found):
        raise CheckpointError(f"The weights of {model} are not all named by strings.")
    missing, extra = sorted(set(own) - set(found)), sorted(set(found) - set(own))
    parts = [f"lacks {listing(missing)}"] * bool(missing)
    parts += [f"also has {listing(extra)}"] * bool(extra)
    if parts:
        raise CheckpointError(
            f"The weights of {model} do not fit its own args: the file {' and '.join(parts)}."
        )
    for key, expected in own.items():
        value = found[key]
        if not isinstance(value, torch.Tensor) or value.shape != expected.shape:
            what = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            raise CheckpointError(
                f"Tensor {key} of {model} is {what}; its args need {tuple(expected.shape)}."
            )
        if not value.numel():
            raise CheckpointError(f"Tensor {key} of {model} is empty, {tuple(value.shape)}.")


def check_size(own: Mapping[str, torch.Tensor], file_size: int, model: str) -> None:
    """Refuse a file whose tensors would take far more memory than the file has bytes.

    Raises:
        CheckpointError: they would.
    """
    size = sum(value.numel() * value.element_size() for value in own.values())
    if size > max(MAX_GROWTH * file_size, SMALL):
        raise CheckpointError(
            f"The weights of {model} take {size / 1e6:.0f} MB, but the file has "
            f"{file_size / 1e6:.0f} MB; it is not a checkpoint that PyTorch saved."
        )


def fill(model: ImplicitModel, found: Mapping[str, torch.Tensor], name: str) -> None:
    """Give a model the weights of a file, whose names and shapes are its own already.

    Raises:
        CheckpointError: a tensor is not of dense, finite numbers, or a table of indices differs
            from the model's own.
    """
    own = model.state_dict()
    for key, value in found.items():
        if not _loadable(value, own[key]):
            raise CheckpointError(
                f"Tensor {key} of {name} is {value.dtype}, {value.layout}, on {value.device}; a "
                f"dense tensor of {own[key].dtype} in the file itself is needed."
            )
        if own[key].is_floating_point():
            own[key].copy_(value)
            if not torch.isfinite(own[key]).all():
                raise CheckpointError(f"Tensor {key} of {name} holds NaN or infinite values.")
        elif not torch.equal(value, own[key]):
            raise CheckpointError(
                f"Tensor {key} of {name} differs from the table of indices that the model's args "
                "define."
            )


def _loadable(value: torch.Tensor, own: torch.Tensor) -> bool:
    """Whether a tensor is one of plain numbers of the right kind."""
    plain = value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized
    if own.is_floating_point():
        return plain and value.is_floating_point()
    return plain and value.dtype == own.dtype
