"""The training loop: one schedule over all stages, checkpointed, resumed to the bit."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from clit_deploy.errors import TrainingError
from clit_deploy.system.interrupts import check as check_interrupt
from clit_deploy.system.locks import locked
from clit_deploy.training.answer import is_dense
from clit_deploy.training.batches import Draw, draw, to_batch
from clit_deploy.training.data import Photos, read_photos
from clit_deploy.training.learner import Learner
from clit_deploy.training.loader import Loader
from clit_deploy.training.precision import choose_precision
from clit_deploy.training.run_log import check_figure, write_figure, write_log
from clit_deploy.training.schedule import Clock, decoder_rate, encoder_rate, stages_at
from clit_deploy.training.start import begin_as, bound_features, first_model, level_features
from clit_deploy.training.state import (
    MODEL,
    STATE,
    State,
    load_state,
    save_checkpoint,
    save_state,
)
from clit_deploy.training.training_config import check_config
from clit_deploy.training.validation import Validation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

    from clit_deploy.training.training_config import Config

log = logging.getLogger(__name__)

FIRST_BATCHES = 8
"""Batches that a model which begins as another one is fitted to."""
CHECK = 50
"""Steps between two looks at the loss: to read it, a GPU must be waited for."""
BLOWN_UP = 3.0
"""Times the usual loss that mean that the weights have gone wrong."""
MOST_RETURNS = 6
"""Returns to earlier weights before a run gives up: its rate is then a sixty-fourth."""


@dataclass(frozen=True)
class Report:
    """What a run reports while it goes."""

    step: int
    fraction: float
    """How much of the run is done, 0 to 1."""
    left: float
    """Seconds that are left; infinite where nothing ends the run."""
    loss: float | None = None
    """Mean of the last steps, once there is one."""
    decibels: dict[str, float] = field(default_factory=dict)
    """PSNR on the validation photographs, by scale, from the last interval."""
    line: str = ""
    """A line for people: at the start, at every interval, and where something went wrong."""


def train(
    config: Config,
    images: Path | Sequence[Path] | Photos,
    run: Path,
    *,
    seconds: float | None = None,
    resume: bool = False,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    figure: bool = False,
    progress: Callable[[Report], None] | None = None,
) -> Path:
    """Train a model, or go on with a run that was stopped.

    Args:
        config: what to train.
        images: a folder of photographs, several of them, or what `read_photos` gave.
        run: the folder that the run keeps its state, log and checkpoint in.
        seconds: training ends after so many seconds, those before a resumption included. For a
            recipe that is counted in seconds this is the length of its schedule; one that is
            counted in steps is cut there and may go on.
        resume: go on with the run in the folder, if there is one.
        device: `cpu`, `cuda`, or `auto` for CUDA where it is present.
        precision: `float32`, `bfloat16`, or `auto` for bfloat16 where it is faster.
        threads: CPU threads to use; PyTorch's choice by default. It holds for the whole process.
        figure: draw `log.png` at each interval; needs matplotlib.
        progress: is called after every step and every interval.

    Returns: the checkpoint, `run/model.pth`, in the published layout.

    Raises:
        TrainingError: data, recipe or folder that cannot be used, too little memory, or a loss
            that stays not finite; the last good state stays.
        MissingDependencyError: matplotlib is not installed and a figure is requested.
    """
    if figure:
        check_figure()
    check_config(config, "the recipe")
    if seconds is not None and not seconds > 0:
        raise TrainingError(f"seconds = {seconds} is not valid; it must be above 0.")
    if not (config.steps or config.seconds or seconds):
        raise TrainingError("The recipe gives neither steps nor seconds; add one, or --seconds.")
    if threads:
        torch.set_num_threads(threads)
    place = _device(device)
    chosen = choose_precision(precision, place)
    run.mkdir(parents=True, exist_ok=True)
    with locked(run / STATE, "training"):
        state = load_state(run, config)
        if state is not None and not resume:
            raise TrainingError(
                f"{run} holds a run at step {state.step}; add --resume to go on with it, or name "
                "another folder."
            )
        model, stages = first_model(config)
        learner = Learner(model, stages, config, place, bfloat16=chosen.bfloat16)
        photos = images
        if not isinstance(photos, Photos):
            photos = read_photos(photos, config.validation, config.crop)
        training = Training(config, photos, run, learner, state, seconds, progress, figure=figure)
        counts = f"{len(photos.train)} images to train on, {len(photos.validation)} to validate"
        training.report(f"{counts}; {chosen.reason}")
        training.go()
    return run / MODEL


class Training:
    """A run in progress."""

    def __init__(
        self,
        config: Config,
        photos: Photos,
        run: Path,
        learner: Learner,
        state: State | None,
        seconds: float | None,
        progress: Callable[[Report], None] | None,
        *,
        figure: bool,
    ) -> None:
        self.config, self.photos, self.run, self.learner = config, photos, run, learner
        self.progress, self.figure = progress, figure
        self.device = next(learner.model.parameters()).device
        self.state = state or State()
        self.clock = Clock(config, self.state.seconds, seconds)
        self._from = self.state.step, self.state.seconds
        self._losses: list[Tensor] = []
        self._loss: float | None = None
        if state is not None:
            learner.restore(state, optimizer=True)
        else:
            self._begin()
        self.validation = self._new_validation()

    def _begin(self) -> None:
        if not self.config.init:
            images = (to_batch(self._draw(k, 1), self.device).image for k in range(FIRST_BATCHES))
            if self.config.begin_as:
                begin_as(self.learner.model, self.config, images)
            elif self.config.encoder_from:
                level_features(self.learner.model, next(images))
        bound_features(self.learner.model, self.photos.train)
        if self.learner.average is not None:
            self.learner.average.load_state_dict(self.learner.model.state_dict())
        self.learner.store(self.state)

    def _draw(self, step: int, stages: int) -> Draw:
        queries = 0 if is_dense(self.learner.model) else self.config.queries
        return draw(self.photos.train, self.config, stages, step, queries)

    def _new_validation(self) -> Validation:
        photo = self.config.degradation == "photo"
        return Validation(self.photos.validation, self.device, self.learner.stages, with_jpeg=photo)

    def go(self) -> None:
        """Train until the steps are done or the time is up."""
        state = self.state
        if state.step and self.clock.is_over(state.step):
            log.warning("the run in %s is finished already; nothing is trained", self.run)
        last = state.step if self.config.steps else state.seconds
        with Loader(self._draw, state.step) as loader:
            over = self.clock.is_over(state.step)
            while not over:
                check_interrupt()
                self._step(loader)
                over = self.clock.is_over(state.step)  # asked once, so that the end is kept
                now = state.step if self.config.steps else self.clock.seconds
                if over or now - last >= self.config.interval:
                    last = now
                    self._keep()
                elif state.step % CHECK == 0:
                    self._look()
                self.report()
        save_checkpoint(self.run / MODEL, self.config.spec(state.stages), state.best())
        if self.config.steps > state.step:
            self.report(
                f"the time was up after {state.step} of {self.config.steps} steps; the state is "
                "kept, and --resume with more --seconds goes on"
            )

    def _stages(self, step: int) -> int:
        return max(self.learner.stages, stages_at(self.config, self.clock.fraction(step)))

    def _step(self, loader: Loader) -> None:
        state, config = self.state, self.config
        fraction = self.clock.fraction(state.step)
        if self._stages(state.step) > self.learner.stages:
            self.learner.grow()
            self.validation = self._new_validation()
            self.report(f"step {state.step}: all {config.stages} stages train from here on")
        batch = to_batch(loader.next(self._stages), self.device)
        rate = state.slowed * decoder_rate(config, fraction, state.step, state.since)
        rates = rate, encoder_rate(config, fraction, rate)
        self._losses.append(self.learner.learn(batch, rates, state.step))
        state.step += 1
        state.since += 1

    def _look(self) -> bool:
        """Whether the loss of the last steps is good; where it is not, go back."""
        mean = float(torch.stack(self._losses[-CHECK:]).mean())
        usual = self.state.typical
        if math.isfinite(mean) and not (usual and mean > BLOWN_UP * usual):
            self.state.typical = 0.9 * usual + 0.1 * mean if usual else mean
            self._loss = mean
            return True
        self._return(mean)
        return False

    def _return(self, loss: float) -> None:
        state = self.state
        state.slowed /= 2
        state.since = 0
        if state.slowed < 0.5**MOST_RETURNS:
            raise TrainingError(
                f"The loss was {loss:.3g} at step {state.step}, for the {MOST_RETURNS + 1}th time; "
                f"the last good state is in {self.run}. Lower lr or encoder_rate in the recipe."
            )
        self.learner.restore(state, optimizer=False)
        self._losses.clear()
        self.report(
            f"step {state.step}: the loss is {loss:.3g}; back to the last good weights, with half "
            "the rate"
        )

    def _keep(self) -> None:
        """Validate, log, and write the state, unless the weights have gone wrong."""
        if not self._look():
            return
        state = self.state
        self.learner.store(state)
        state.seconds = self.clock.seconds
        rate = state.slowed * decoder_rate(
            self.config, self.clock.fraction(state.step), state.step, state.since
        )
        row = {"step": state.step, "stages": self.learner.stages, "lr": rate}
        row["loss"] = float(torch.stack(self._losses).mean())
        self._losses.clear()
        decibels = self.validation.decibels(self.learner.best, bfloat16=self.learner.bfloat16)
        state.history.append({**row, **decibels})
        save_state(self.run, self.config, state)
        save_checkpoint(self.run / MODEL, self.config.spec(state.stages), state.best())
        write_log(self.run, state.history)
        if self.figure:
            write_figure(self.run, state.history)
        shown = "  ".join(f"{name} {value:.2f}" for name, value in decibels.items())
        left = self._left()
        ending = f"  {duration(left)} left" if math.isfinite(left) else ""
        self.report(f"step {state.step}  loss {row['loss']:.4f}  {shown} dB{ending}")

    def _left(self) -> float:
        return self.clock.left(self.state.step, *self._from)

    def report(self, line: str = "") -> None:
        """Call `progress` with where the run stands."""
        if line:
            log.info("%s", line)
        if self.progress:
            history = self.state.history
            decibels = {k: v for k, v in history[-1].items() if k[0] == "x"} if history else {}
            fraction = self.clock.fraction(self.state.step)
            self.progress(
                Report(self.state.step, fraction, self._left(), self._loss, decibels, line)
            )


def duration(seconds: float) -> str:
    """Seconds, minutes or hours in words."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _device(name: str) -> torch.device:
    if name not in ("auto", "cpu", "cuda"):
        raise TrainingError(f"Unknown device {name!r}; there are auto, cpu and cuda.")
    present = torch.cuda.is_available()
    if name == "cuda" and not present:
        raise TrainingError(
            "CUDA was requested, but this PyTorch finds no GPU; use --device cpu, or install a "
            "CUDA build of torch."
        )
    return torch.device("cpu" if name == "cpu" or not present else "cuda")
