"""Where a checkpoint keeps its model: the layouts of training code, and what wraps the names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from clit_deploy.families import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Mapping

Weights = dict[str, Any]

PLACES = ("params_ema", "params", "state_dict", "model_state_dict", "model", "net", "weights")
"""Keys under which training code keeps a state dict, beside an optimizer and counters."""

WRAPPERS = {"module", "_orig_mod"}
"""What DataParallel and `torch.compile` put into the names of tensors."""


def model_parts(content: Any) -> tuple[dict[str, Any] | None, Weights] | None:
    """The spec and the weights of a model in what a file holds.

    Returns: the spec, `{'name', 'args'}`, or None if the file has none; and the weights by the
        names that the model itself gives them. None if there is no model.
    """
    if not isinstance(content, dict):
        return None
    model = content.get("model")
    if isinstance(model, dict) and isinstance(model.get("sd"), dict) and "name" in model:
        return {"name": model["name"], "args": model.get("args")}, unwrapped(model["sd"])
    for weights in (content, *(content.get(place) for place in PLACES)):
        if isinstance(weights, dict) and _is_state_dict(weights):
            return _spec_beside(content), unwrapped(weights)
    return None


def unwrapped(weights: Mapping[Any, Any]) -> Weights:
    """A state dict with the names of the model itself.

    Names lose what DataParallel and `torch.compile` add. If a larger module holds the model, as in
    Lightning, the rest of that module is left out.
    """
    if not all(isinstance(key, str) for key in weights):
        return dict(weights)
    plain = {_unwrapped_name(key): value for key, value in weights.items()}
    if len(plain) != len(weights):  # a model with its copy
        plain = dict(weights)
    holders = {_holder(name) for name in plain} - {None}
    if len(holders) != 1 or "" in holders:
        return plain
    (holder,) = holders
    inside = str(holder)
    return {k.removeprefix(inside): v for k, v in plain.items() if k.startswith(inside)}


def _unwrapped_name(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _holder(name: str) -> str | None:
    """What stands before the model's own name of a tensor of the encoder: `model.`, or nothing."""
    before, found, _ = f".{name}".partition(".encoder.")
    return f"{before[1:]}." * bool(before) if found else None


def _is_state_dict(found: Mapping[Any, Any]) -> bool:
    return bool(found) and all(isinstance(value, torch.Tensor) for value in found.values())


def _spec_beside(content: dict[str, Any]) -> dict[str, Any] | None:
    """The spec in Lightning's hyperparameters: as a whole, or as one of them."""
    options = content.get("hyper_parameters")
    if not isinstance(options, dict):
        return None
    for found in (options, *options.values()):
        if isinstance(found, dict) and "args" in found:
            name = found.get("name")
            if isinstance(name, str) and name in FAMILIES:
                return {"name": name, "args": found["args"]}
    return None
