"""Trials: what a quantised plan loses on held-out pictures."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.calibration.render import render, shrink
from clit_deploy.evaluate import Y, psnr
from clit_deploy.manifest import ScaleDrop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from clit_deploy.bundle import Plan
    from clit_deploy.runtimes.base import Runtime

SCALES = (2.0, 4.0, 12.0)
"""Scales that accuracy is promised at."""


@dataclass(frozen=True)
class _Case:
    scale: float
    low: NDArray[np.float32]
    true: NDArray[np.float64]
    """Luminance."""
    reference: NDArray[np.float64]
    """What the float plan makes of it."""

    @property
    def noise(self) -> float:
        """The float plan's own error."""
        return float(np.mean((self.reference - self.true) ** 2))


class Trial:
    """A float plan, and crops that it has enlarged, to compare quantised plans with."""

    def __init__(
        self, plan: Plan, runtime: Runtime, pictures: Sequence[NDArray[np.uint8]], side: int
    ) -> None:
        self._runtime = runtime
        self._cases = [
            self._case(plan, picture, scale, side) for scale in SCALES for picture in pictures
        ]

    def _case(self, plan: Plan, picture: NDArray[np.uint8], scale: float, side: int) -> _Case:
        low, true = shrink(picture, scale, side)
        return _Case(scale, low, _luminance(true), self._enlarge(plan, low, scale))

    def _enlarge(self, plan: Plan, low: NDArray[np.float32], scale: float) -> NDArray[np.float64]:
        return _luminance(np.clip(render(plan, self._runtime, low, scale), 0, 1))

    def measured(self, plan: Plan) -> list[ScaleDrop]:
        """PSNR against the truth, of the float plan and of another one."""
        drops = []
        for scale in SCALES:
            some = [case for case in self._cases if case.scale == scale]
            ours = [psnr(self._enlarge(plan, case.low, scale), case.true) for case in some]
            theirs = [psnr(case.reference, case.true) for case in some]
            drops.append(ScaleDrop(scale, statistics.fmean(theirs), statistics.fmean(ours)))
        return drops

    def estimate(self, plan: Plan) -> float:
        """dB lost at the worst scale if a plan's deviation from the float one adds to its error.

        Few crops are enough for that, where a difference of two PSNRs is mostly chance.
        """
        return max(
            statistics.fmean(self._loss(plan, case) for case in self._cases if case.scale == scale)
            for scale in SCALES
        )

    def _loss(self, plan: Plan, case: _Case) -> float:
        output = self._enlarge(plan, case.low, case.scale)
        return 10 * math.log10(1 + float(np.mean((output - case.reference) ** 2)) / case.noise)


def worst(drops: Sequence[ScaleDrop]) -> ScaleDrop:
    """The scale that loses most."""
    return max(drops, key=lambda found: found.drop)


def _luminance(rgb: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(rgb.astype(np.float64) @ Y)
