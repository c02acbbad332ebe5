"""The configuration of a training run: a TOML file, read into frozen dataclasses."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clit_deploy.errors import TrainingError
from clit_deploy.families import FAMILIES
from clit_deploy.system.files import check_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class TrainingPhase:
    """One part of a run: `stages` stages, trained for `steps` batches."""

    stages: int
    steps: int
    lr: float = 1e-4
    """Step size of Adam at the start."""
    decay_every: int = 0
    """Steps after which `lr` is multiplied by `decay`, again and again; 0 for never."""
    decay: float = 0.5
    batch: int = 32
    crop: int = 48
    """Side of the low-resolution crop; smaller where the scale leaves no room for it."""
    queries: int = 2304
    """Output pixels that are asked for in every crop."""
    ema: float = 0.0
    """Decay of the moving average of the weights that is validated and kept; 0 for none. It looks
    back over about 1 / (1 - ema) steps, so a phase must be several times as long."""
    freeze_encoder: bool = False
    frozen: int = 0
    """First stages that stay as they are, with all that stages share; every batch uses more."""


@dataclass(frozen=True)
class Config:
    """A training run. The model is a published spec without its number of stages."""

    model: dict[str, Any]
    phases: tuple[TrainingPhase, ...]
    seed: int = 0
    encoder_from: str = ""
    """A checkpoint whose encoder's weights are where the encoder starts; beside the file."""
    validation: float = 0.1
    """Part of the photographs (not of their crops) that is only looked at."""
    interval: int = 200
    """Steps between two checkpoints; a kill loses no more than that."""
    factors: tuple[float, ...] = (4.0, 4.0, 2.0)
    """Largest factor of each stage (CLIT, section 4.1); the smallest is 1."""

    def spec(self, stages: int) -> dict[str, Any]:
        """The published spec of the model with so many stages."""
        name = self.model["name"]
        known = FAMILIES[name].part("model") if name in FAMILIES else object
        cascade = "conv_num" in inspect.signature(known).parameters
        counts = {"imnet_num": stages, "conv_num": stages} if cascade else {}
        return {"name": name, "args": {**self.model.get("args", {}), **counts}}


def read_config(path: Path) -> Config:
    """Read a training configuration.

    Raises:
        MissingFileError: no such file.
        TrainingError: not valid TOML, an unknown key, or an invalid value.
    """
    check_file(path, "configuration file")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"{path.name} is not valid TOML: {error}.") from error
    phases = content.pop("phase", [])
    if not isinstance(phases, list) or not phases:
        raise TrainingError(f"{path.name} has no [[phase]]; at least one is needed.")
    made = tuple(
        _make(TrainingPhase, phase, path, f"phase {k}") for k, phase in enumerate(phases, 1)
    )
    config: Config = _make(Config, {**content, "phases": made}, path, "the top level")
    _check(config, path)
    if config.encoder_from:
        beside = str(path.parent / config.encoder_from)
        config = dataclasses.replace(config, encoder_from=beside)
    return config


def _make(kind: Any, values: Any, path: Path, where: str) -> Any:
    known = {field.name: field for field in dataclasses.fields(kind)}
    if not isinstance(values, dict):
        raise TrainingError(f"{where} of {path.name} is not a table.")
    strange = sorted(set(values) - set(known))
    if strange:
        raise TrainingError(
            f"{path.name} has unknown keys at {where}: {', '.join(strange)}; known are "
            f"{', '.join(sorted(known))}."
        )
    needed = [n for n, f in known.items() if f.default is dataclasses.MISSING and n not in values]
    if needed:
        raise TrainingError(f"{path.name} lacks {', '.join(needed)} at {where}.")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def _check(config: Config, path: Path) -> None:
    if not isinstance(config.model, dict) or not isinstance(config.model.get("name"), str):
        raise TrainingError(f"[model] of {path.name} must have a name and args.")
    try:
        for phase in config.phases:
            _check_phase(phase, len(config.factors), path)
        if not (0 < config.validation < 1 and config.interval > 0):
            raise TrainingError(
                f"{path.name}: validation must be between 0 and 1, interval above 0."
            )
        if min(config.factors) < 1:
            raise TrainingError(f"{path.name}: factors are at least 1.")
    except TypeError as error:
        raise TrainingError(f"{path.name} has a value of a wrong type: {error}.") from error


def _check_phase(phase: TrainingPhase, factors: int, path: Path) -> None:
    counts = phase.stages, phase.steps, phase.batch, phase.queries
    if min(counts) < 1 or phase.crop < 8 or not 0 < phase.lr < 1 or phase.decay_every < 0:
        raise TrainingError(
            f"A phase of {path.name} is invalid: stages, steps, batch and queries are at least 1, "
            f"crop at least 8, lr between 0 and 1; found {phase}."
        )
    if not 0 <= phase.ema < 1:
        raise TrainingError(f"ema of a phase of {path.name} is {phase.ema}; it must be in 0..1.")
    if not 0 <= phase.frozen < phase.stages:
        raise TrainingError(
            f"A phase of {path.name} has {phase.stages} stages of which {phase.frozen} are frozen; "
            "at least one must be trained."
        )
    if phase.stages > factors:
        raise TrainingError(
            f"A phase of {path.name} has {phase.stages} stages, but factors names {factors}."
        )
