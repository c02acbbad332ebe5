"""The training loop: phases of a growing cascade, checkpointed, resumed to the bit."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from clit_deploy.errors import TrainingError
from clit_deploy.models import build_model, load_checkpoint
from clit_deploy.system.interrupts import check
from clit_deploy.training.data import Photos, draw, read_photos
from clit_deploy.training.log import write_log
from clit_deploy.training.state import (
    State,
    grown,
    is_of_stage,
    load_state,
    save_checkpoint,
    save_state,
    start_encoder,
)
from clit_deploy.training.step import loss_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clit_deploy.models.implicit_model import ImplicitModel
    from clit_deploy.training.training_config import Config, TrainingPhase

log = logging.getLogger(__name__)

Report = dict[str, float]

VALIDATION_FACTORS: dict[int, tuple[tuple[float, ...], ...]] = {
    1: ((2.0,), (4.0,)),
    2: ((4.0, 2.0),),
    3: ((4.0, 4.0, 1.5),),
}
"""Factors at which each number of stages is validated."""


def train(
    config: Config,
    data: Path | Sequence[Path],
    run: Path,
    *,
    device: str = "auto",
    progress: Callable[[Report], None] | None = None,
) -> Path:
    """Train a model, or go on with a run that was stopped.

    Args:
        config: what to train.
        data: a folder of images, an image, or several of them.
        run: the folder that the run keeps its state, log and checkpoints in.
        device: `cpu`, `cuda`, or `auto` for CUDA where it is present.
        progress: called after every step with phase, step, steps, loss and seconds left.

    Returns: the last checkpoint, `run/model.pth`, in the published layout.

    Raises:
        TrainingError: data, configuration or folder that cannot be used, or a loss that is not
            finite; the last checkpoint before it stays.
    """
    run.mkdir(parents=True, exist_ok=True)
    state = load_state(run, config) or State()
    photos = read_photos(data, config.validation)
    trainer = Trainer(config, photos, run, _device(device), state, progress)
    if state.phase == len(config.phases):
        log.warning("the run in %s is finished already; nothing is trained", run)
    for index in range(state.phase, len(config.phases)):
        trainer.phase(index)
    path = run / "model.pth"
    save_checkpoint(path, config.spec(config.phases[-1].stages), trainer.state.best())
    return path


class Trainer:
    """A run in progress."""

    def __init__(
        self,
        config: Config,
        photos: Photos,
        run: Path,
        device: torch.device,
        state: State,
        progress: Callable[[Report], None] | None,
    ) -> None:
        self.config, self.photos, self.run, self.device = config, photos, run, device
        self.state, self.progress = state, progress

    def phase(self, index: int) -> None:
        """Train one phase from where the state stands."""
        phase = self.config.phases[index]
        model = self._model(phase)
        optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], phase.lr)
        if self.state.optimiser:
            optimiser.load_state_dict(self.state.optimiser)
        began, first = time.monotonic(), self.state.step
        losses = []
        for step in range(first, phase.steps):
            check()
            losses.append(self._step(model, optimiser, phase, index, step))
            self.state.step = step + 1
            left = (time.monotonic() - began) / (step + 1 - first) * (phase.steps - step - 1)
            self._tell(index, step + 1, phase.steps, losses[-1], left)
            if (step + 1) % self.config.interval == 0 or step + 1 == phase.steps:
                self._keep(model, optimiser, phase, index, losses)
                losses = []
        name = f"phase{index + 1}.pth"
        save_checkpoint(self.run / name, self.config.spec(phase.stages), self.state.best())
        # The next phase builds on the weights that were validated and kept.
        self.state.weights = dict(self.state.best())
        self.state.phase, self.state.step, self.state.optimiser = index + 1, 0, {}
        save_state(self.run, self.config, self.state)

    def _model(self, phase: TrainingPhase) -> ImplicitModel:
        torch.manual_seed(self.config.seed)
        model = build_model(self.config.spec(phase.stages))
        if self.state.weights:
            model.load_state_dict(grown(model, self.state.weights))
            if not phase.ema:
                self.state.average = {}
            elif self.state.average:
                self.state.average = grown(model, self.state.average)
        elif self.config.encoder_from:
            source = load_checkpoint(Path(self.config.encoder_from))
            start_encoder(model.encoder, source.model.state_dict(), source.name)
        model.train().to(self.device)
        model.encoder.requires_grad_(not phase.freeze_encoder)
        for name, parameter in model.named_parameters():
            if name.startswith(("encoder.sub_mean", "encoder.add_mean")):  # fixed, as published
                parameter.requires_grad_(False)
            late = any(is_of_stage(name, k) for k in range(phase.frozen, phase.stages))
            if phase.frozen and not late:
                parameter.requires_grad_(False)
        return model

    def _step(
        self,
        model: ImplicitModel,
        optimiser: torch.optim.Optimizer,
        phase: TrainingPhase,
        index: int,
        step: int,
    ) -> float:
        # All that is random in a step comes from its number: nothing of it has to be stored.
        rng = np.random.default_rng([self.config.seed, index, step])
        stages = int(rng.integers(phase.frozen + 1, phase.stages + 1))
        factors = tuple(float(rng.uniform(1, f)) for f in self.config.factors[:stages])
        batch = draw(self.photos.train, phase, factors, rng)
        for group in optimiser.param_groups:
            group["lr"] = _rate(phase, step)
        loss = loss_of(model, batch, self.device)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"The loss is {loss.item()} at step {step + 1} of phase {index + 1}; the last good "
                f"checkpoint is in {self.run}. Lower lr in the configuration."
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if phase.ema:
            # Short at first: weights move far in the first steps of a phase.
            self._average(model, min(phase.ema, (1 + step) / (10 + step)))
        return float(loss.item())

    def _average(self, model: ImplicitModel, decay: float) -> None:
        with torch.no_grad():
            for key, value in model.state_dict().items():
                held = self.state.average.setdefault(key, value.detach().cpu().clone())
                if value.is_floating_point():
                    held.lerp_(value.detach().cpu(), 1 - decay)

    def _keep(
        self,
        model: ImplicitModel,
        optimiser: torch.optim.Optimizer,
        phase: TrainingPhase,
        index: int,
        losses: list[float],
    ) -> None:
        """Validate, log, and write the state."""
        self.state.weights = {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}
        self.state.optimiser = optimiser.state_dict()
        row = {"phase": index + 1, "step": self.state.step, "lr": _rate(phase, self.state.step - 1)}
        row |= {"loss": float(np.mean(losses)), **self._validate(model, phase)}
        log.info("%s", row)
        self.state.history.append(row)
        save_state(self.run, self.config, self.state)
        write_log(self.run, self.state.history)

    def _validate(self, model: ImplicitModel, phase: TrainingPhase) -> Report:
        """Mean absolute error on fixed crops and places of the held-out photographs."""
        before = {k: v.detach().clone() for k, v in model.state_dict().items()}
        model.load_state_dict(self.state.best())
        found = {}
        with torch.no_grad():
            for stages in range(1, phase.stages + 1):
                for factors in VALIDATION_FACTORS.get(stages, ()):
                    rng = np.random.default_rng(self.config.seed)
                    batch = draw(self.photos.validation, phase, factors, rng)
                    loss = loss_of(model.eval(), batch, self.device)
                    found[f"validation x{math.prod(factors):g}"] = float(loss)
        model.load_state_dict(before)
        model.train()
        return found

    def _tell(self, index: int, step: int, steps: int, loss: float, left: float) -> None:
        if self.progress:
            self.progress(
                {"phase": index + 1, "step": step, "steps": steps, "loss": loss, "seconds": left}
            )


def _rate(phase: TrainingPhase, step: int) -> float:
    halvings = step // phase.decay_every if phase.decay_every else 0
    return phase.lr * phase.decay**halvings


def _device(name: str) -> torch.device:
    if name not in ("auto", "cpu", "cuda"):
        raise TrainingError(f"Unknown device {name!r}; there are auto, cpu and cuda.")
    present = torch.cuda.is_available()
    if name == "cuda" and not present:
        raise TrainingError(
            "CUDA was asked for, but this PyTorch finds no GPU; use --device cpu, or install a "
            "CUDA build of torch."
        )
    return torch.device("cuda" if name == "cuda" or (name == "auto" and present) else "cpu")
