"""Reading published checkpoints: `{'model': {'name', 'args', 'sd'}, ...}`, never running code."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from clit_deploy.errors import CheckpointError, ClitDeployError
from clit_deploy.models.blueprint import blueprint
from clit_deploy.models.registry import build_model, resolved
from clit_deploy.models.spec import check_plain, listing
from clit_deploy.models.torch_errors import named_torch_errors
from clit_deploy.models.weights import check_shapes, check_size, fill
from clit_deploy.system.files import check_file

if TYPE_CHECKING:
    from clit_deploy.models.implicit_model import ImplicitModel

LAYOUT = "{'model': {'name', 'args', 'sd'}}"


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model, and which file it comes from."""

    model: ImplicitModel
    spec: dict[str, Any]
    """`{'name', 'args'}`, with the defaults of args that the file leaves out."""
    name: str
    """The file's name."""
    sha256: str
    """Of the file."""


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint and build its model with its weights (float32, evaluation mode).

    Only tensors and plain containers are unpickled (`weights_only=True`). Names and shapes are
    compared with what the args describe before the model takes any memory.

    Raises:
        MissingFileError: no such file.
        CheckpointError: not a checkpoint, code in the pickle, or tensors that do not fit.
        UnsupportedModelError: an unknown family, encoder or option, or a value out of range.
        MemoryBudgetError: memory ran out.
    """
    path = Path(path)
    check_file(path, "checkpoint file")
    with named_torch_errors(f"reading {path.name}"):
        content = _model_part(path, _unpickled(path))
        spec, weights = {"name": content["name"], "args": content.get("args")}, content["sd"]
        check_plain(spec)
        own = blueprint(spec, len(weights))
        spec["args"] = resolved(spec)
        encoder = spec["args"]["encoder_spec"]["name"]
        model = f"{path.name} ({spec['name']} with encoder {encoder})"
        check_shapes(own, weights, model)
        check_size(own, path.stat().st_size, model)
        built = build_model(spec)
        fill(built, weights, path.name)
        return Checkpoint(built, spec, path.name, hashlib.sha256(path.read_bytes()).hexdigest())


def _unpickled(path: Path) -> Any:
    """What a PyTorch file holds.

    Raises:
        CheckpointError: it is not one, or holds more than tensors and plain values.
    """
    try:
        _check_parts(path)
        with named_torch_errors(f"reading {path.name}"):
            return torch.load(path, map_location="cpu", weights_only=True)
    except ClitDeployError:
        raise
    except pickle.UnpicklingError as error:
        if zipfile.is_zipfile(path) or "global" in str(error).lower():
            raise CheckpointError(
                f"{path.name} holds more than tensors and plain values, so it was not opened "
                f"(loading it could run code). Save only {LAYOUT}. {_reason(error)}"
            ) from error
        raise CheckpointError(f"{path.name} is not a PyTorch checkpoint.") from error
    except Exception as error:  # damaged bytes make the unpickler raise anything
        raise CheckpointError(
            f"{path.name} is not a PyTorch checkpoint, or it is cut off."
        ) from error


def _check_parts(path: Path) -> None:
    """Refuse a zip whose parts take more bytes than the file has.

    Raises:
        CheckpointError: they do.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            if sum(part.file_size for part in file.infolist()) > path.stat().st_size:
                raise CheckpointError(
                    f"{path.name} has compressed or overlapping parts, which PyTorch never writes."
                )


def _model_part(path: Path, content: Any) -> dict[str, Any]:
    """The part that describes a model.

    Raises:
        CheckpointError: there is none; the message says what there is.
    """
    spec = content.get("model") if isinstance(content, dict) else None
    if isinstance(spec, dict) and isinstance(spec.get("sd"), dict) and "name" in spec:
        return spec
    found = f"a {type(content).__name__}"
    if isinstance(content, dict):
        found = f"a mapping with {listing(list(content)) or 'nothing'}"
    raise CheckpointError(
        f"{path.name} is a PyTorch file but not a model checkpoint: expected {LAYOUT} as LIIF and "
        f"CLIT save it, found {found}."
    )


def _reason(error: Exception) -> str:
    for line in str(error).splitlines():
        if "global" in line.lower():
            return f"{line.strip()!r:.160}"
    return ""
