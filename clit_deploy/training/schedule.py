"""How far a run is, and what follows from that: the rate, and when the later stages join."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clit_deploy.training.training_config import Config

FLAT = 0.1
"""Share of a run before its rate begins to fall."""
LOWEST = 0.01
"""Share of the rate that is left at the end."""
ENCODER_RAMP = 0.05
"""Share of a run over which the encoder's rate rises: it comes trained, and the first gradients
are those of a decoder that knows nothing."""
RESTART = 20
"""Steps of warm-up after a return to earlier weights."""


class Clock:
    """The progress of a run, counted in steps or in seconds of training.

    Args:
        config: what the run's length is counted in.
        spent: seconds that earlier parts of the run have used.
        limit: seconds after which the run ends, earlier parts included; without one it is the
            recipe's.
    """

    def __init__(self, config: Config, spent: float, limit: float | None) -> None:
        self._steps = config.steps
        self._limit = limit if limit is not None else config.seconds or math.inf
        self._began = time.monotonic() - spent

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""
        return time.monotonic() - self._began

    def fraction(self, step: int) -> float:
        """How much of the run is done after `step` steps, 0 to 1."""
        if self._steps:
            return min(step / self._steps, 1.0)
        return min(self.seconds / self._limit, 1.0)

    def is_over(self, step: int) -> bool:
        """Whether the steps are done or the time is up."""
        return (bool(self._steps) and step >= self._steps) or self.seconds >= self._limit

    def left(self, step: int, first: int, since: float) -> float:
        """Seconds that are left, by the speed since `first` steps, reached at `since` seconds."""
        by_clock = self._limit - self.seconds
        if not self._steps or step == first:
            return max(by_clock, 0.0)
        each = (self.seconds - since) / (step - first)
        return max(min(by_clock, each * (self._steps - step)), 0.0)


def decoder_rate(config: Config, fraction: float, step: int, since: int) -> float:
    """The rate of all that is not the encoder: warm-up, a flat part, a cosine.

    Args:
        config: the highest rate and the steps of warm-up.
        fraction: how much of the run is done, 0 to 1.
        step: steps done.
        since: steps done since the run started or returned to earlier weights.
    """
    warm = min(1.0, (step + 1) / max(config.warmup, 1), (since + 1) / RESTART)
    fall = max(0.0, (fraction - FLAT) / (1 - FLAT))
    return config.lr * warm * (LOWEST + (1 - LOWEST) * 0.5 * (1 + math.cos(math.pi * fall)))


def encoder_rate(config: Config, fraction: float, rate: float) -> float:
    """The encoder's rate, where the decoder's is `rate`."""
    return rate * config.encoder_rate * min(1.0, fraction / ENCODER_RAMP)


def stages_at(config: Config, fraction: float) -> int:
    """Stages that are trained at this point of the run."""
    return config.stages if fraction >= config.join else 1
