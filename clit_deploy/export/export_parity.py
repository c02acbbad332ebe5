"""The parity check of an export: graphs on ONNX Runtime against the PyTorch model in float64."""

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
"""Largest allowed difference, relative to the output's standard deviation."""

HALF_TOLERANCE = 1e-2
"""The same where weights are rounded to float16, each by up to a relative 5e-4."""

CASES = (((15, 11), 2.6), ((9, 12), 5.3), ((6, 5), 17.7))
"""Image sizes and scales: no ties (where rounding decides which pixel is nearest), three stages."""


def cases(stages: int) -> list[tuple[tuple[int, int], float]]:
    """Image sizes and scales that together run every stage of a cascade of any length."""
    return [*CASES, *(((3, 2), 1.1 * 4.0**stage) for stage in range(len(CASES), stages))]


def with_parity(plan: Plan, model: ImplicitModel) -> Plan:
    """Render random images with the plan and with the model, and compare.

    Args:
        plan: an FP32 plan.
        model: the model that it was made from.

    Returns: the plan with the errors and the samples; if the encoder's tiling is not exact, also
        with the error of tiling on a test image.

    Raises:
        ParityError: an error exceeds the tolerance.
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
    parity = ParityReport(runtime, tolerance, found, SAMPLES)
    encoder = plan.manifest.encoder
    if not model.encoder.exact:
        tiled = tiled_against_whole(plan, tiling_image(plan), TILED_SCALE)
        encoder = dataclasses.replace(encoder, tiling=tiled)
    return plan.replaced({SAMPLES: pack_samples(samples)}, encoder=encoder, proof=parity)
