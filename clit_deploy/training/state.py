"""What a run leaves on disk: checkpoints in the published layout, and its state to resume from."""

from __future__ import annotations

import copy
import dataclasses
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from clit_deploy.errors import CheckpointError, TrainingError
from clit_deploy.system.files import replacing

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from clit_deploy.models.implicit_model import ImplicitModel
    from clit_deploy.training.training_config import Config

STATE = "state.pt"
NEW_STAGE = 0.25
"""A new stage begins as a copy of the one before, its answer a quarter: with what the cascade
keeps of the residual before it, three quarters, the whole begins where it stood."""


@dataclass
class State:
    """Where a run stands: everything that the next step depends on."""

    phase: int = 0
    step: int = 0
    """Steps of the phase that are done."""
    weights: dict[str, Tensor] = field(default_factory=dict)
    average: dict[str, Tensor] = field(default_factory=dict)
    """Moving average of the weights, if one is kept."""
    optimiser: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)

    def best(self) -> dict[str, Tensor]:
        """The weights that are exported: the average where one is kept."""
        return self.average or self.weights


def save_state(run: Path, config: Config, state: State) -> None:
    """Write the state; the one before stays until this one is whole."""
    content = {
        "config": dataclasses.asdict(config),
        **{f.name: getattr(state, f.name) for f in dataclasses.fields(State)},
    }
    with replacing(run / STATE) as part:
        torch.save(content, part)


def load_state(run: Path, config: Config) -> State | None:
    """The state that a run was left in, or None where it has not begun.

    Raises:
        TrainingError: it was made with another configuration.
    """
    path = run / STATE
    if not path.exists():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        before = content.pop("config")
        state = State(**content)
    except Exception as error:
        raise CheckpointError(
            f"{path} is damaged ({type(error).__name__}); remove it to start the run anew."
        ) from error
    now = dataclasses.asdict(config)
    changed = sorted(key for key in now if now[key] != before.get(key))
    if changed:
        raise TrainingError(
            f"{run} was begun with another configuration ({', '.join(changed)} differ); resume "
            "with the old one, or name another folder."
        )
    return state


def save_checkpoint(path: Path, spec: dict[str, Any], weights: dict[str, Tensor]) -> None:
    """A checkpoint as LIIF and CLIT publish theirs."""
    with replacing(path) as part:
        torch.save({"model": {**spec, "sd": weights}}, part)


def grown(model: ImplicitModel, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights for a model with more stages than the one that they are from."""
    result = copy.deepcopy(model.state_dict())
    result.update(weights)
    for stage in range(1, model.stages):
        for key in [k for k in result if k not in weights and is_of_stage(k, stage)]:
            source = key.replace(f"s.{stage}.", f"s.{stage - 1}.", 1)
            if source in result:
                result[key] = result[source].clone()
        if f"imnets.{stage}.layers.0.weight" not in weights:
            last = max(int(k.split(".")[3]) for k in result if k.startswith(f"imnets.{stage}."))
            for part in ("weight", "bias"):
                key = f"imnets.{stage}.layers.{last}.{part}"
                if key in result:
                    result[key] = result[key] * NEW_STAGE
    return result


def is_of_stage(name: str, stage: int) -> bool:
    """Whether a parameter belongs to one stage of a cascade: `conv_qs.1.weight`, `imnets.1...`."""
    return bool(re.match(rf"\w+s\.{stage}\.", name))


def start_encoder(encoder: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Give an encoder the weights that another model's has.

    Raises:
        TrainingError: they do not fit.
    """
    own = {k.removeprefix("encoder."): v for k, v in weights.items() if k.startswith("encoder.")}
    try:
        encoder.load_state_dict(own)
    except RuntimeError as error:
        raise TrainingError(
            f"The encoder of {source} does not fit that of the configuration: "
            f"{str(error).splitlines()[-1].strip()[:150]}"
        ) from error
