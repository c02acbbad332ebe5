"""From a checkpoint file to its model with its weights, never running code.

The published layout is `{'model': {'name', 'args', 'sd'}, ...}`; `checkpoint_layouts` has others.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clit_deploy.errors import CheckpointError
from clit_deploy.models.blueprint import blueprint
from clit_deploy.models.checkpoint_file import LAYOUT, file_content
from clit_deploy.models.checkpoint_layouts import model_parts
from clit_deploy.models.recognition import recognized
from clit_deploy.models.registry import build_model, resolved
from clit_deploy.models.spec import check_plain, listing
from clit_deploy.models.torch_errors import named_torch_errors
from clit_deploy.models.weights import check_shapes, check_size, fill
from clit_deploy.system.files import check_file, file_digest

if TYPE_CHECKING:
    from clit_deploy.models.checkpoint_layouts import Weights
    from clit_deploy.models.implicit_model import ImplicitModel

log = logging.getLogger(__name__)


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
        MissingDependencyError: a safetensors file, and the library is not installed.
        CheckpointError: not a checkpoint, code in the pickle, or tensors that do not fit.
        UnsupportedModelError: an unknown family, encoder or option, or a value out of range.
        MemoryBudgetError: memory ran out.
    """
    path = Path(path)
    check_file(path, "checkpoint file")
    with named_torch_errors(f"reading {path.name}"):
        spec, weights = _model_of(path)
        check_plain(spec)
        own = blueprint(spec, len(weights))
        spec["args"] = resolved(spec)
        encoder = spec["args"]["encoder_spec"]["name"]
        model = f"{path.name} ({spec['name']} with encoder {encoder})"
        check_shapes(own, weights, model)
        check_size(own, path.stat().st_size, model)
        built = build_model(spec)
        fill(built, weights, path.name)
        return Checkpoint(built, spec, path.name, file_digest(path))


def _model_of(path: Path) -> tuple[dict[str, Any], Weights]:
    """The spec and the weights of the model that a file holds.

    Raises:
        CheckpointError: there is none; the message says what there is.
    """
    content = file_content(path)
    parts = model_parts(content)
    if parts is not None:
        spec, weights = parts
        if spec is not None:
            return spec, weights
        found_model = recognized(weights)
        if found_model is not None:
            spec, assumed = found_model
            log.warning(
                "%s is a state dict without the args of its model. By names and shapes it is %s "
                "with encoder %s. Assumed: %s.",
                path.name,
                spec["name"],
                spec["args"]["encoder_spec"]["name"],
                assumed,
            )
            return spec, weights
    found = f"a {type(content).__name__}"
    if isinstance(content, dict):
        found = f"a mapping with {listing(list(content)) or 'nothing'}"
    raise CheckpointError(
        f"{path.name} is a PyTorch file but not a model checkpoint: expected {LAYOUT} as LIIF and "
        f"CLIT save it, or the state dict of such a model; found {found}."
    )
