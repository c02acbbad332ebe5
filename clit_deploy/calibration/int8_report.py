"""The report of an INT8 plan: how far it is from the float plan on photographs and drawings."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING

from clit_deploy.calibration.calibration_images import PHOTOGRAPHS
from clit_deploy.calibration.crops import shrink
from clit_deploy.calibration.originals import HELD_OUT, Part, Photograph, drawings
from clit_deploy.errors import PlanError
from clit_deploy.images.image_files import read_image
from clit_deploy.images.image_folders import images_in
from clit_deploy.images.pixels import to_bytes
from clit_deploy.plan.manifest import ParityReport
from clit_deploy.quality.parity import (
    TILED_SCALE,
    ParitySample,
    compare_samples,
    pack_samples,
    tiled_against_whole,
    tiling_image,
)
from clit_deploy.upscaler import Upscaler

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clit_deploy.calibration.originals import Original
    from clit_deploy.plan.plan_file import Plan

OUTPUT = 128
"""Side of the outputs, in pixels; the plan stores them."""

TOLERANCE_FACTOR = 2.0
"""Another machine may differ from the stored outputs by this many times the error measured here."""


def with_int8_report(plan: Plan, source: Plan) -> Plan:
    """An INT8 plan with stored samples of its own: photographs and drawings in turn, as the float
    plan upscales them.

    The float plan's samples are noise, far outside the calibrated ranges.

    Args:
        plan: the INT8 plan.
        source: the float plan that it was made from.

    Raises:
        PlanError: the float plan stores no samples, so their scales are not known.
    """
    if source.manifest.proof is None:
        raise PlanError(
            f"{source.name} has no stored samples for a parity check; export the checkpoint again."
        )
    name = source.manifest.proof.samples
    samples = _samples(source, [case.scale for case in source.manifest.proof.cases])
    runtime, cases = compare_samples(plan, samples, math.inf)
    tolerance = TOLERANCE_FACTOR * max(case.relative_error for case in cases)
    tiling = tiled_against_whole(plan, tiling_image(plan), TILED_SCALE)
    return plan.replaced(
        {name: pack_samples(samples)},
        encoder=dataclasses.replace(plan.manifest.encoder, tiling=tiling),
        proof=ParityReport(runtime, tolerance, cases, name),
    )


def _samples(source: Plan, scales: Sequence[float]) -> list[ParitySample]:
    samples = []
    with Upscaler(source, runtime="cpu") as up:
        for original, scale in zip(itertools.cycle(_originals()), scales, strict=False):
            low, _ = shrink(original, scale, OUTPUT, Part.USUAL)
            image = to_bytes(low)
            output = up.upscale(image, scale=scale, clip=False)
            samples.append(ParitySample(scale, image, output))
    return samples


def _originals() -> Iterator[Original]:
    for path, drawing in zip(images_in(PHOTOGRAPHS), drawings(HELD_OUT), strict=False):
        yield Photograph(to_bytes(read_image(path).rgb))
        yield drawing
