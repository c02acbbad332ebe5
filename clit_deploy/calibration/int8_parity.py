"""The proof of an INT8 plan: pictures as the float plan enlarges them."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING

from clit_deploy.calibration.calibration_images import PHOTOGRAPHS, Part
from clit_deploy.calibration.crops import shrink
from clit_deploy.errors import PlanError
from clit_deploy.images.image_files import images_in, read_image
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
    from collections.abc import Sequence

    from clit_deploy.plan.plan_file import Plan

OUTPUT = 128
"""Side of what the pictures become: it is kept in the plan."""

TOLERANCE_FACTOR = 2.0
"""How many times the error that was measured here another machine may show."""


def with_int8_parity(plan: Plan, source: Plan) -> Plan:
    """An INT8 plan with a proof of its own: photographs as the float plan enlarges them.

    The float plan's proof has noise for pictures, far outside of what photographs calibrate.

    Raises:
        PlanError: the float plan has no proof, so its scales are not known.
    """
    if source.manifest.proof is None:
        raise PlanError(f"{source.name} carries no proof; export the checkpoint again.")
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
        for path, scale in zip(itertools.cycle(images_in(PHOTOGRAPHS)), scales, strict=False):
            low, _ = shrink(to_bytes(read_image(path).rgb), scale, OUTPUT, Part.USUAL)
            picture = to_bytes(low)
            output = up.upscale(picture, scale=scale, clip=False)
            samples.append(ParitySample(scale, picture, output))
    return samples
