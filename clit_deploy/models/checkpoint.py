"""Reading published checkpoints: `{'model': {'name', 'args', 'sd'}, ...}`, never running code."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from clit_deploy.errors import CheckpointError
from clit_deploy.models.registry import build_model, resolved
from clit_deploy.system.files import check_file

if TYPE_CHECKING:
    from clit_deploy.models.implicit_model import ImplicitModel


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model with where it came from."""

    model: ImplicitModel
    spec: dict[str, Any]
    name: str
    sha256: str


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint and build its model with its weights (float32, evaluation mode).

    Only tensors and plain containers are unpickled (`weights_only=True`).

    Raises:
        MissingFileError: no such file.
        CheckpointError: not a checkpoint, code in the pickle, or tensors that do not fit.
        UnsupportedModelError: an unknown family, encoder or option.
    """
    path = Path(path)
    check_file(path, "checkpoint file")
    spec = _model_spec(path)
    model = build_model(spec)
    _load_weights(model, spec["sd"], path.name)
    plain = {"name": spec["name"], "args": resolved(spec)}
    return Checkpoint(model, plain, path.name, hashlib.sha256(path.read_bytes()).hexdigest())


def _model_spec(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if zipfile.is_zipfile(path) or "global" in str(error).lower():
            raise CheckpointError(
                f"{path.name} holds more than tensors and plain values, so it was not opened "
                f"(loading it could run code). Save only {{'model': {{'name', 'args', 'sd'}}}}. "
                f"{_reason(error)}"
            ) from error
        raise CheckpointError(f"{path.name} is not a PyTorch checkpoint.") from error
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError, OSError) as error:
        raise CheckpointError(
            f"{path.name} is not a PyTorch checkpoint, or it is cut off."
        ) from error
    spec = content.get("model") if isinstance(content, dict) else None
    if not (isinstance(spec, dict) and isinstance(spec.get("sd"), dict) and "name" in spec):
        raise CheckpointError(
            f"{path.name} is a PyTorch file but no model checkpoint: expected "
            "{'model': {'name', 'args', 'sd'}} as LIIF and CLIT save it."
        )
    return spec


def _reason(error: Exception) -> str:
    for line in str(error).splitlines():
        if "global" in line.lower():
            return line.strip()[:160]
    return ""


def _load_weights(model: ImplicitModel, weights: dict[str, Any], name: str) -> None:
    own = model.state_dict()
    if not all(isinstance(key, str) for key in weights):
        raise CheckpointError(f"The weights in {name} are not all named by strings.")
    missing = sorted(set(own) - set(weights))
    extra = sorted(set(weights) - set(own))
    if missing or extra:
        parts = [_listing("lacks", missing)] * bool(missing) + [_listing("also has", extra)] * bool(
            extra
        )
        raise CheckpointError(
            f"The weights in {name} do not fit its own args: it {' and '.join(parts)}."
        )
    for key, value in weights.items():
        if not isinstance(value, torch.Tensor) or value.shape != own[key].shape:
            found = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            raise CheckpointError(
                f"Tensor {key} in {name} is {found}; the args ask for {tuple(own[key].shape)}."
            )
        if (
            value.layout != torch.strided
            or value.is_floating_point() != own[key].is_floating_point()
        ):
            raise CheckpointError(
                f"Tensor {key} in {name} is {value.dtype}, {value.layout}; dense real numbers of "
                f"{own[key].dtype} are needed."
            )
        if not torch.isfinite(value).all():
            raise CheckpointError(f"Tensor {key} in {name} holds NaN or infinite values.")
    model.load_state_dict(weights)


def _listing(verb: str, keys: list[str]) -> str:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return f"{verb} {', '.join(keys[:3])}{more}"
