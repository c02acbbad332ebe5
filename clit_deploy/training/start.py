"""The model that a run starts with."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from zipfile import BadZipFile

import numpy as np
import torch
from torch.nn import functional

from clit_deploy.errors import TrainingError
from clit_deploy.models import build_model, load_checkpoint
from clit_deploy.models.bounds import lacks_bounds, measure_bounds, with_bounds
from clit_deploy.models.clit import CLIT
from clit_deploy.training.first_layers import keep_first_layers_exact
from clit_deploy.training.from_liif import begin_as_liif, check_begins
from clit_deploy.training.stages import grown, up_to

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from clit_deploy.models.implicit_model import ImplicitModel
    from clit_deploy.models.liif import LIIF
    from clit_deploy.training.training_config import Config

MOST_MEASURED = 50
"""Photographs that the bounds of an encoder are measured on."""
REDUCTIONS = (2, 3, 4)
"""What divides the sides of those photographs, as in training. Smaller factors show less detail."""
NOT_READ = ("upsampler.", "mean")
"""What published archives of encoders hold beside the encoder."""


def first_model(config: Config) -> tuple[ImplicitModel, int]:
    """The model of a recipe with all its stages, on the CPU, with the weights that it starts with.

    Returns: the model, and how many of its stages have weights of their own: one, or those of the
        checkpoint that the recipe starts from.

    Raises:
        TrainingError: a checkpoint that the recipe names does not fit its model.
        CheckpointError: one that cannot be read.
    """
    torch.manual_seed(config.seed)
    model = build_model(config.spec(config.stages))
    keep_first_layers_exact(model.encoder)
    if config.init:
        source = load_checkpoint(Path(config.init))
        weights = with_bounds(model, source.model.state_dict())
        _check_fit(up_to(source.model.stages, model.state_dict()), weights, source.name, "model")
        model.load_state_dict(grown(model, weights))
        return model, source.model.stages
    if config.begin_as:
        source = load_checkpoint(Path(config.begin_as))
        check_begins(model, source.model, source.name)
    elif config.encoder_from:
        start_encoder(model.encoder, Path(config.encoder_from))
    return model, 1


def start_encoder(encoder: nn.Module, path: Path) -> None:
    """Give an encoder the weights that another model's has, or those of an archive.

    Raises:
        TrainingError: they do not fit.
        CheckpointError: a checkpoint that cannot be read.
    """
    weights = _archive(path) if path.suffix == ".npz" else _encoder_of(path)
    weights = with_bounds(encoder, weights)
    _check_fit(encoder.state_dict(), weights, path.name, "encoder")
    encoder.load_state_dict(weights)


def _encoder_of(path: Path) -> dict[str, Tensor]:
    return dict(load_checkpoint(path).model.encoder.state_dict())


def _archive(path: Path) -> dict[str, Tensor]:
    try:
        with np.load(path) as content:
            return {
                name: torch.from_numpy(content[name].astype(np.float32))
                for name in content.files
                if not name.startswith(NOT_READ)
            }
    except (OSError, ValueError, BadZipFile) as error:
        raise TrainingError(f"{path.name} is not an archive of arrays (.npz): {error}.") from error


def _check_fit(own: dict[str, Any], found: dict[str, Tensor], name: str, what: str) -> None:
    for key, value in own.items():
        if key not in found:
            raise TrainingError(
                f"The {what} of {name} does not fit that of the recipe: it lacks {key}. Take the "
                "checkpoint's args into the recipe, or another checkpoint."
            )
        if found[key].shape != value.shape:
            raise TrainingError(
                f"The {what} of {name} does not fit that of the recipe: {key} is "
                f"{tuple(found[key].shape)}, the recipe needs {tuple(value.shape)}."
            )
    extra = sorted(set(found) - set(own))
    if extra:
        raise TrainingError(
            f"The {what} of {name} does not fit that of the recipe: it also has {extra[0]}. Take "
            "the checkpoint's args into the recipe, or another checkpoint."
        )


def begin_as(model: ImplicitModel, config: Config, images: Iterable[Tensor]) -> None:
    """Let the first stage begin as the LIIF that a recipe names, in place.

    Args:
        model: the network, which `first_model` made, on any device.
        config: the recipe.
        images: crops `[b, 3, h, w]`, -1 to 1, on the same device.
    """
    device = next(model.parameters()).device
    source = load_checkpoint(Path(config.begin_as)).model.eval().to(device)
    begin_as_liif(cast("CLIT", model), cast("LIIF", source), images)


@torch.no_grad()
def level_features(model: ImplicitModel, image: Tensor) -> None:
    """Scale the convolution that reads the features by their deviation on some crops, in place.

    Published encoders answer in units of their own (EDSR's features deviate by 0.27, SPAN's by
    0.22), and a decoder that starts with PyTorch's weights learns slowly from small ones.
    """
    if isinstance(model, CLIT):
        model.conv_ch.weight /= model.encoder(image).std().clamp(min=1e-3)


def bound_features(model: ImplicitModel, photos: Sequence[NDArray[np.uint8]]) -> None:
    """Measure the bounds of an encoder that has them and does not know them yet, in place.

    Args:
        model: the network, on any device.
        photos: images `[3, h, w]`.
    """
    if not lacks_bounds(model.encoder):
        return
    device = next(model.parameters()).device
    chosen = photos[:: math.ceil(len(photos) / MOST_MEASURED)]
    measure_bounds(model.encoder, (image for photo in chosen for image in _reduced(photo, device)))


def _reduced(photo: NDArray[np.uint8], device: torch.device) -> Iterable[Tensor]:
    image = torch.from_numpy(photo)[None].to(device).float() / 127.5 - 1
    for factor in REDUCTIONS:
        yield functional.interpolate(
            image, scale_factor=1 / factor, mode="bicubic", antialias=True
        ).clamp(-1, 1)
