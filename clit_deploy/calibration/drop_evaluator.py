"""What a quantized plan loses on held-out images."""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.calibration.calibration_images import Part
from clit_deploy.calibration.crops import render, shrink
from clit_deploy.plan.manifest import ScaleDrop
from clit_deploy.quality.metrics import luminance_of, mean_square, psnr
from clit_deploy.runtimes.wrappers import CachingRuntime

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.runtimes.protocols import Runtime

    Luminance = NDArray[np.float64]

PROMISED_SCALES = (2.0, 4.0, 12.0)
"""Scales at which the loss is limited."""

ROUNDING = 1 / (12 * 255**2)
"""Mean square error of rounding an image to 8 bits. It is added to every error: much smaller errors
are invisible, and where the float plan has none, any error would be infinitely many dB."""


@dataclass(frozen=True)
class _Case:
    scale: float
    low: NDArray[np.float32]
    true: Luminance
    reference: Luminance
    """The float plan's output."""


class DropEvaluator:
    """Compares quantized plans with a float plan, on crops that both upscale."""

    def __init__(
        self, plan: Plan, runtime: Runtime, images: Sequence[NDArray[np.uint8]], side: int
    ) -> None:
        self._runtime = runtime
        self._cases = [
            self._case(plan, image, scale, side) for scale in PROMISED_SCALES for image in images
        ]

    def _case(self, plan: Plan, image: NDArray[np.uint8], scale: float, side: int) -> _Case:
        low, true = shrink(image, scale, side, Part.USUAL)
        return _Case(scale, low, luminance_of(true), _upscale(plan, self._runtime, low, scale))

    def measured(self, plan: Plan) -> list[ScaleDrop]:
        """PSNR against the truth of the float plan and of another plan, for each scale."""
        drops = []
        for scale, some in self._upscaled(plan):
            ours = statistics.fmean(_quality(output, case.true) for case, output in some)
            theirs = statistics.fmean(_quality(case.reference, case.true) for case, _ in some)
            drops.append(ScaleDrop(scale, theirs, ours))
        return drops

    def estimate(self, plan: Plan) -> float:
        """dB lost at the worst scale, if a plan's deviation from the float plan adds to its error.

        A few crops are enough for this; the difference of two PSNRs on them is mostly chance.
        """
        return max(
            statistics.fmean(_loss(case, output) for case, output in some)
            for _, some in self._upscaled(plan)
        )

    def _upscaled(self, plan: Plan) -> Iterator[tuple[float, list[tuple[_Case, Luminance]]]]:
        runtime = CachingRuntime(self._runtime, plan)
        for scale, cases in itertools.groupby(self._cases, key=lambda case: case.scale):
            yield scale, [(case, _upscale(plan, runtime, case.low, scale)) for case in cases]


def _upscale(plan: Plan, runtime: Runtime, low: NDArray[np.float32], scale: float) -> Luminance:
    return luminance_of(np.clip(render(plan, runtime, low, scale), 0, 1))


def _quality(output: Luminance, true: Luminance) -> float:
    """PSNR in dB; that of a perfect image is 59."""
    return psnr(output, true, added=ROUNDING)


def _loss(case: _Case, output: Luminance) -> float:
    own = mean_square(case.reference, case.true) + ROUNDING
    return 10 * math.log10(1 + mean_square(output, case.reference) / own)


def worst(drops: Sequence[ScaleDrop]) -> ScaleDrop:
    """The scale with the largest loss."""
    return max(drops, key=lambda found: found.drop)
