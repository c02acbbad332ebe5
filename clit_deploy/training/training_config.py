"""What a training run is given: a TOML file, read into a frozen dataclass."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clit_deploy.errors import TrainingError
from clit_deploy.families import FAMILIES
from clit_deploy.system.files import check_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEGRADATIONS = ("none", "photo")
LOSSES = ("absolute", "relative")
CHECKPOINTS = ("init", "encoder_from", "begin_as", "teacher")
"""The keys that name a checkpoint."""


@dataclass(frozen=True)
class Config:
    """A training run. The model is a published spec without its number of stages."""

    model: dict[str, Any]
    stages: int = 1
    """Stages of the cascade; families other than CLIT have one."""
    steps: int = 0
    """Length of the run in batches; 0 for a run that is counted in seconds."""
    seconds: float = 0.0
    """Length of the run in seconds of training, where it is not counted in steps."""
    interval: float = 60.0
    """Steps, or seconds where the run counts those, between two checkpoints with a line in the
    log; a kill loses no more than that."""
    join: float = 0.5
    """Share of the run after which the later stages join the first. They begin as copies of it."""
    seed: int = 0
    init: str = ""
    """A checkpoint of the whole model to start from, with all its stages or fewer; beside the
    file."""
    encoder_from: str = ""
    """A checkpoint (.pth) whose encoder's weights are where the encoder starts, or an archive of
    such weights by name (.npz); beside the file."""
    begin_as: str = ""
    """A checkpoint of a LIIF that the first stage of a CLIT begins as, its encoder included
    (`training.from_liif`); beside the file."""
    teacher: str = ""
    """A checkpoint of a good model, of any family, whose answers this one learns from besides the
    truth; beside the file."""
    trust: float = 0.8
    """Share of the loss that is the distance from the teacher's answers, where there is one."""
    loss: str = "absolute"
    """`absolute` (mean absolute error), or `relative`: for each crop the squared error, divided by
    that of the teacher. PSNR is the logarithm of the squared error, so that is what it gains from,
    and every crop and scale counts alike."""
    lr: float = 5e-4
    """Highest step size of Adam."""
    encoder_rate: float = 1.0
    """The encoder's rate as a part of `lr`; 0 leaves it as it is."""
    warmup: int = 200
    """Steps over which the rate rises at the start."""
    clip: float = 0.5
    """Largest norm of the gradients; longer ones are shortened to it."""
    ema: float = 0.9995
    """Decay of the moving average of the weights that is validated and kept; 0 for none."""
    batch: int = 32
    crop: int = 48
    """Side of the low-resolution crop; smaller where the scale leaves no room for it."""
    cells: int = 28
    """Side of the patch that is decoded, in pixels of the low-resolution crop, and"""
    most: int = 96
    """its largest side in output pixels."""
    queries: int = 2304
    """Output pixels of a patch that are decoded where a family has no dense form."""
    factors: tuple[float, ...] = (4.0, 4.0, 2.0)
    """Largest factor of each stage (CLIT, section 4.1); the smallest is 1."""
    whole: float = 0.0
    """Share of the steps of one stage whose factor is a whole number, drawn evenly. The grid cells
    of a patch then hold equally many outputs, and none is decoded in vain."""
    shares: tuple[float, ...] = (0.6, 0.28, 0.12)
    """How often one, two, three... stages are used, once all are trained."""
    degradation: str = "none"
    """What the input has been through: `none` (bicubic reduction) or `photo`."""
    synthetic: float = 0.0
    """Share of drawn images (line art, patterns, noise) among the crops."""
    validation: float = 0.1
    """Part of the photographs (not of their crops) that only measures."""

    def spec(self, stages: int) -> dict[str, Any]:
        """The published spec of the model with so many stages."""
        counts = {"imnet_num": stages, "conv_num": stages} if self.is_cascade else {}
        return {
            "name": self.model["name"],
            "args": {**self.model.get("args", {}), **counts},
        }

    @property
    def is_cascade(self) -> bool:
        """Whether the model's family has stages."""
        name = self.model["name"]
        known = FAMILIES[name].part("model") if name in FAMILIES else object
        return "conv_num" in inspect.signature(known).parameters


def read_config(path: Path) -> Config:
    """Read a training recipe.

    Raises:
        MissingFileError: no such file, or one that the recipe names is not there.
        TrainingError: not TOML, an unknown key, or a value that a key cannot have.
    """
    check_file(path, "training recipe")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"{path.name} is not valid TOML: {error}.") from error
    known = {field.name: field for field in dataclasses.fields(Config)}
    strange = sorted(set(content) - set(known))
    if strange:
        raise TrainingError(
            f"{path.name} has unknown keys: {', '.join(strange)}; known are "
            f"{', '.join(sorted(known))}."
        )
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
    for key in CHECKPOINTS:
        if values.get(key):
            values[key] = str(path.parent / str(values[key]))
    config = Config(**({"model": {}} | values))
    check_config(config, path.name)
    return config


def check_config(config: Config, name: str) -> None:
    """Refuse values that a run cannot have.

    Args:
        config: the recipe.
        name: what messages call it.

    Raises:
        MissingFileError: a checkpoint that it names is not there.
        TrainingError: the key, what was found, and what is valid.
    """
    if not isinstance(config.model, dict) or not isinstance(config.model.get("name"), str):
        raise TrainingError(f"[model] of {name} must have a name and args.")
    try:
        for key, (low, high) in _RANGES.items():
            found = getattr(config, key)
            if not low <= found <= high:
                raise TrainingError(
                    f"{key} = {found} in {name} is not valid; it must be between {low:g} and "
                    f"{high:g}."
                )
        _check_stages(config, name)
    except TypeError as error:
        raise TrainingError(f"{name} has a value of a wrong type: {error}.") from error
    _check_choices(config, name)
    for key in CHECKPOINTS:
        if getattr(config, key):
            check_file(Path(getattr(config, key)), f"checkpoint file ({key} in {name})")


def _check_choices(config: Config, name: str) -> None:
    for key, known in (("degradation", DEGRADATIONS), ("loss", LOSSES)):
        if (found := getattr(config, key)) not in known:
            raise TrainingError(
                f"{key} = {found!r} in {name} is not valid; there are {' and '.join(known)}."
            )
    if config.loss == "relative" and not config.teacher:
        raise TrainingError(
            f"loss = 'relative' in {name} needs a teacher; name one, or take 'absolute'."
        )


def _check_stages(config: Config, name: str) -> None:
    if config.stages > 1 and not config.is_cascade:
        raise TrainingError(
            f"{name} has {config.stages} stages, but the family {config.model['name']!r} has "
            "one; remove stages."
        )
    if config.stages > min(len(config.factors), len(config.shares)):
        raise TrainingError(
            f"{name} has {config.stages} stages; factors names {len(config.factors)} and "
            f"shares {len(config.shares)}, and each stage needs one of both."
        )
    if min(config.factors) < 1 or min(config.shares) < 0 or config.shares[0] <= 0:
        raise TrainingError(
            f"factors in {name} must be at least 1, and shares at least 0, the first above 0; "
            f"found {config.factors} and {config.shares}."
        )
    if config.steps and config.seconds:
        raise TrainingError(f"{name} gives steps and seconds; a run is counted in one of them.")


_RANGES: dict[str, tuple[float, float]] = {
    "stages": (1, 8),
    "steps": (0, 1e9),
    "seconds": (0, 1e9),
    "interval": (1, 1e9),
    "join": (0, 1),
    "trust": (0, 1),
    "lr": (1e-9, 1),
    "encoder_rate": (0, 10),
    "warmup": (0, 1e6),
    "clip": (1e-6, 1e6),
    "ema": (0, 0.999999),
    "batch": (1, 4096),
    "crop": (8, 1024),
    "cells": (1, 1024),
    "most": (8, 4096),
    "queries": (1, 1e6),
    "whole": (0, 1),
    "synthetic": (0, 1),
    "validation": (0.001, 0.999),
}
