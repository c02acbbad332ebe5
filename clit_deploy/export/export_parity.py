"""An export's proof: its graphs on ONNX Runtime against the PyTorch model in float64."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import torch

from clit_deploy.grid.cascade import output_size
from clit_deploy.plan.manifest import ParityReport
from clit_deploy.quality.parity import (
    TILED_SCALE,
    ParitySample,
    compare_samples,
    pack_samples,
    tiled_against_whole,
    tiling_image,
)

if TYPE_CHECKING:
    from clit_deploy.models.implicit_model import ImplicitModel
    from clit_deploy.plan.plan_file import Plan

SAMPLES = "proof.npz"
TOLERANCE = 2e-4
"""Largest difference over the standard deviation of the output that an export may show."""

HALF_TOLERANCE = 1e-2
"""The same where weights are rounded to float16, a relative 5e-4 each."""

CASES = (((15, 11), 2.6), ((9, 12), 5.3), ((6, 5), 17.7))
"""Image sizes and scales: no ties (where nearest is a matter of rounding), three stages."""


def cases(stages: int) -> list[tuple[tuple[int, int], float]]:
    """Cases that run every stage of a cascade, however long it is."""
    return [*CASES, *(((3, 2), 1.1 * 4.0**stage) for stage in range(len(CASES), stages))]


def with_parity(plan: Plan, model: ImplicitModel) -> Plan:
    """Render the cases with both; the plan returned carries the figures and the samples.

    For an encoder whose tiles are not exact it also carries what tiles cost on a test picture.

    Raises:
        ParityError: an error above the tolerance.
    """
    exact = copy.deepcopy(model).double()
    samples = []
    for seed, (shape, scale) in enumerate(cases(model.stages)):
        pixels = np.random.RandomState(seed).randint(0, 256, (*shape, 3), np.uint8)
        size, _ = output_size(shape, scale, None)
        image = torch.from_numpy(pixels / 255.0)
        expected = exact.render(image, size, scale, batch=2000).numpy().astype(np.float32)
        samples.append(ParitySample(scale, pixels, expected))
    tolerance = HALF_TOLERANCE if plan.manifest.half_weights else TOLERANCE
    runtime, found = compare_samples(plan, samples, tolerance)
    proof = ParityReport(runtime, tolerance, found, SAMPLES)
    encoder = plan.manifest.encoder
    if not model.encoder.exact:
        tiled = tiled_against_whole(plan, tiling_image(plan), TILED_SCALE)
        encoder = dataclasses.replace(encoder, tiling=tiled)
    return plan.replaced({SAMPLES: pack_samples(samples)}, encoder=encoder, proof=proof)
