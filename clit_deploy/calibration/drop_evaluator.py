"""What a quantized plan loses on held-out images."""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from clit_deploy.calibration.crops import render, shrink
from clit_deploy.calibration.originals import Part
from clit_deploy.plan.manifest import KindLoss, ScaleDrop
from clit_deploy.quality.metrics import luminance_of, mean_square, psnr
from clit_deploy.runtimes.wrappers import CachingRuntime

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from clit_deploy.calibration.originals import Original
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.runtimes.protocols import Runtime

    Luminance = NDArray[np.float64]

PROMISED_SCALES = (2.0, 4.0, 12.0)
"""Scales at which the loss is limited."""

LEAST_NOISE = 1e-16
"""Smallest mean square difference of two plans: 160 dB."""

ROUNDING = 1 / (12 * 255**2)
"""Mean square error of rounding an image to 8 bits. It is added to every error: much smaller errors
are invisible, and where the float plan has none, any error would be infinitely many dB."""


@dataclass(frozen=True)
class _Case:
    scale: float
    low: NDArray[np.float32]
    true: Luminance
    reference: NDArray[np.float32]
    """The float plan's output, 0 to 1."""


_Outputs: TypeAlias = "list[tuple[_Case, NDArray[np.float32]]]"


class DropEvaluator:
    """Compares quantized plans with a float plan, on crops that both upscale."""

    def __init__(self, plan: Plan, runtime: Runtime, images: Sequence[Original], side: int) -> None:
        self._runtime = runtime
        self._cases: dict[tuple[str, float], list[_Case]] = {}
        for image, scale in itertools.product(images, PROMISED_SCALES):
            cases = self._cases.setdefault((image.kind, scale), [])
            low, true = shrink(image, scale, side, Part.USUAL)
            output = _upscale(plan, runtime, low, scale)
            cases.append(_Case(scale, low, luminance_of(true), output))

    def measured(self, plan: Plan) -> list[KindLoss]:
        """What another plan loses against the float plan, for each kind of image."""
        found: dict[str, list[_Outputs]] = {}
        for kind, some in self._upscaled(plan):
            found.setdefault(kind, []).append(some)
        return [_kind_loss(kind, scales) for kind, scales in found.items()]

    def estimate(self, plan: Plan) -> float:
        """dB lost if a plan's deviation from the float plan adds to its error: the mean over the
        kinds of image, of each at its worst scale.

        A few crops are enough for this; the difference of two PSNRs on them is mostly chance.
        """
        worst: dict[str, float] = {}
        for kind, some in self._upscaled(plan):
            loss = statistics.fmean(_loss(case, output) for case, output in some)
            worst[kind] = max(worst.get(kind, 0.0), loss)
        return statistics.fmean(worst.values())

    def _upscaled(self, plan: Plan) -> Iterator[tuple[str, _Outputs]]:
        runtime = CachingRuntime(self._runtime, plan)
        for (kind, scale), cases in self._cases.items():
            yield kind, [(case, _upscale(plan, runtime, case.low, scale)) for case in cases]


def _upscale(
    plan: Plan, runtime: Runtime, low: NDArray[np.float32], scale: float
) -> NDArray[np.float32]:
    return np.clip(render(plan, runtime, low, scale), 0, 1)


def _kind_loss(kind: str, scales: Sequence[_Outputs]) -> KindLoss:
    """The loss on one kind of image, from the outputs at each scale."""
    pairs = [(output, case.reference) for some in scales for case, output in some]
    ours, floats = (np.concatenate([pair[k].ravel() for pair in pairs]) for k in (0, 1))
    return KindLoss(
        kind,
        tuple(_scale_drop(some) for some in scales),
        psnr(ours, floats.astype(np.float64), least=LEAST_NOISE),
        255 * float(np.abs(ours - floats).max()),
    )


def _scale_drop(some: _Outputs) -> ScaleDrop:
    ours = statistics.fmean(_quality(output, case.true) for case, output in some)
    theirs = statistics.fmean(_quality(case.reference, case.true) for case, _ in some)
    return ScaleDrop(some[0][0].scale, theirs, ours)


def _quality(output: NDArray[np.float32], true: Luminance) -> float:
    """PSNR of luminance in dB; that of a perfect image is 59."""
    return psnr(luminance_of(output), true, added=ROUNDING)


def _loss(case: _Case, output: NDArray[np.float32]) -> float:
    ours, reference = luminance_of(output), luminance_of(case.reference)
    own = mean_square(reference, case.true) + ROUNDING
    return 10 * math.log10(1 + mean_square(ours, reference) / own)


def worst_by_scale(kinds: Sequence[KindLoss]) -> tuple[ScaleDrop, ...]:
    """For each scale, the drop of the kind of image that loses most."""
    by_scale = zip(*(kind.drops for kind in kinds), strict=True)
    return tuple(max(drops, key=lambda found: found.drop) for drops in by_scale)
