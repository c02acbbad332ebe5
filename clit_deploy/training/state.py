"""What a run leaves on disk: checkpoints in the published layout, and its state to resume from."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from clit_deploy.errors import CheckpointError, TrainingError
from clit_deploy.system.files import replacing
from clit_deploy.training.training_config import CHECKPOINTS

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from clit_deploy.training.training_config import Config

STATE = "state.pt"
MODEL = "model.pth"
MAY_CHANGE = {"batch", "cells", "most", "queries", "interval", "steps", "seconds", "lr"} | {
    *CHECKPOINTS
}
"""What a run that goes on may have otherwise: its length, what its memory depends on, its rate, and
the places of checkpoints."""


@dataclass
class State:
    """Where a run stands: everything that the next step depends on."""

    step: int = 0
    """Steps that are done."""
    seconds: float = 0.0
    """Seconds that they took."""
    stages: int = 0
    """Stages that were trained so far; 0 for a run that has not begun."""
    weights: dict[str, Tensor] = field(default_factory=dict)
    average: dict[str, Tensor] = field(default_factory=dict)
    """Moving average of the weights, if one is kept."""
    optimizer: dict[str, Any] = field(default_factory=dict)
    slowed: float = 1.0
    """Factor of the rate: halved with every return to earlier weights."""
    since: int = 0
    """Steps since the start or the last return."""
    typical: float = 0.0
    """The usual loss, a moving mean; 0 before there is one."""
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
        CheckpointError: the file is damaged.
        TrainingError: it was made with another recipe.
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
    changed = sorted(key for key in set(now) - MAY_CHANGE if now[key] != before.get(key))
    if changed:
        raise TrainingError(
            f"{run} was begun with another recipe ({', '.join(changed)} differ); resume with the "
            "old one, or name another folder."
        )
    return state


def save_checkpoint(path: Path, spec: dict[str, Any], weights: dict[str, Tensor]) -> None:
    """A checkpoint as LIIF and CLIT publish theirs."""
    with replacing(path) as part:
        torch.save({"model": {**spec, "sd": weights}}, part)
