"""The weights of a cascade's stages: which are whose, and how the later ones begin."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from clit_deploy.models.implicit_model import ImplicitModel

NEW_STAGE = 0.25
"""A later stage begins as a copy of the first, its answer a quarter: with what the cascade keeps of
the residual before it, three quarters, the whole begins about where it stood."""

_STAGE = re.compile(r"(conv_[qkv]s|imnets)\.(\d+)\.")


def stage_of(name: str) -> int:
    """The stage that a parameter of CLIT belongs to; 0 also for what all stages share."""
    found = _STAGE.match(name)
    return int(found[2]) if found else 0


def up_to(stages: int, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a model of the first stages alone."""
    return {name: value for name, value in weights.items() if stage_of(name) < stages}


def grown(model: ImplicitModel, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights for all stages of a model, those that `weights` lacks begun from the first."""
    result = dict(weights)
    for name in model.state_dict():
        stage = stage_of(name)
        if name in weights or stage == 0:
            continue
        source = _STAGE.sub(lambda found: f"{found[1]}.0.", name)
        result[name] = weights[source].clone()
        if re.match(rf"imnets\.0\.layers\.{_last_layer(weights)}\.", source):
            result[name] *= NEW_STAGE
    return result


def _last_layer(weights: dict[str, Tensor]) -> int:
    return max(int(name.split(".")[3]) for name in weights if name.startswith("imnets.0.layers."))
