"""Is a plan right here and now? Its proof repeated, and tiles against the whole image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.errors import PlanError, ProofError
from clit_deploy.images import read_image
from clit_deploy.manifest import ProofCase
from clit_deploy.scheduler import Layout
from clit_deploy.tiling import smallest
from clit_deploy.upscaler import Upscaler

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from clit_deploy.bundle import Plan

TILED_TOLERANCE = 1e-5
"""Largest difference of tiled from whole, in the image's 0..1."""


@dataclass(frozen=True)
class ProofSample:
    """A small image and what the PyTorch model makes of it."""

    scale: float
    image: NDArray[np.uint8]
    expected: NDArray[np.float32]

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """As it is kept in a plan."""
        return {"scale": np.float64(self.scale), "image": self.image, "expected": self.expected}


@dataclass(frozen=True)
class TiledCase:
    """One image rendered in tiles and whole."""

    scale: float
    image: tuple[int, int]
    tile: int
    block: int
    max_difference: float


def stored_samples(plan: Plan) -> list[ProofSample]:
    """The samples of the plan's proof.

    Raises:
        PlanError: the plan carries no proof.
    """
    if plan.manifest.proof is None:
        raise PlanError(f"{plan.name} carries no proof; export the checkpoint again.")
    arrays = plan.arrays(plan.manifest.proof.samples)
    return [
        ProofSample(
            float(arrays[f"scale{k}"]),
            arrays[f"image{k}"].astype(np.uint8),
            arrays[f"expected{k}"].astype(np.float32),
        )
        for k in range(len(plan.manifest.proof.cases))
    ]


def compare(
    plan: Plan, samples: Sequence[ProofSample], tolerance: float, runtime: str = "cpu"
) -> tuple[str, tuple[ProofCase, ...]]:
    """Render the samples with the plan; return the runtime's name and the errors.

    Raises:
        ProofError: an error above the tolerance.
    """
    cases = []
    with Upscaler(plan, runtime=runtime) as up:
        for sample in samples:
            got = up.upscale(sample.image, scale=sample.scale, clip=False)
            error = float(np.abs(got - sample.expected).max())
            shapes = sample.image.shape[:2], got.shape[:2]
            relative = error / (float(sample.expected.std()) or 1.0)
            cases.append(ProofCase(sample.scale, *shapes, error, relative))
        name = up.runtime.name
    wrong = [case for case in cases if not case.relative_error <= tolerance]  # NaN is wrong
    if wrong:
        worst = wrong[0]
        raise ProofError(
            f"The graphs are wrong by {worst.relative_error:.2g} of the output's deviation at "
            f"x{worst.scale:g}; at most {tolerance:g} is allowed ({name})."
        )
    return name, tuple(cases)


def tiled_against_whole(
    plan: Plan, image: NDArray[np.generic], scale: float, runtime: str = "cpu"
) -> TiledCase:
    """Render an image with the smallest tiles and blocks, and whole.

    Raises:
        ProofError: the two differ by more than `TILED_TOLERANCE`.
    """
    manifest = plan.manifest
    tiled = Layout(smallest(manifest.encoder.halo, manifest.margin), 32)
    whole = Layout(max(image.shape), 512)
    results = []
    for layout in (tiled, whole):
        with Upscaler(plan, runtime=runtime, layout=layout) as up:
            results.append(up.upscale(image, scale=scale, clip=False))
    difference = float(np.abs(results[0] - results[1]).max())
    shape = image.shape[0], image.shape[1]
    if not difference <= TILED_TOLERANCE:
        raise ProofError(
            f"Tiled and whole differ by {difference:.2g} at x{scale:g} on {shape[1]}x{shape[0]} "
            f"pixels; at most {TILED_TOLERANCE:g} is allowed."
        )
    return TiledCase(scale, shape, tiled.tile, tiled.block, difference)


@dataclass(frozen=True)
class Verification:
    """All that `verify_plan` checked; it raises where something is wrong."""

    members: int
    runtime: str
    cases: tuple[ProofCase, ...]
    tiled: TiledCase


def verify_plan(plan: Plan, image: Path | None = None, runtime: str = "auto") -> Verification:
    """Check every digest, repeat the proof, and compare tiled with whole.

    Args:
        plan: the plan.
        image: a picture for the comparison of tiled with whole, of which the middle is taken
            where it is larger than two tiles; by default noise.
        runtime: where to run.

    Raises:
        PlanError: a damaged plan, or one without a proof.
        ProofError: something differs by more than its tolerance.
    """
    for member in plan.manifest.digests:
        plan.read(member)
    samples = stored_samples(plan)
    assert plan.manifest.proof is not None  # noqa: S101  (stored_samples has checked)
    name, cases = compare(plan, samples, plan.manifest.proof.tolerance, runtime)
    tiled = tiled_against_whole(plan, _test_image(plan, image), 2.5, runtime)
    return Verification(len(plan.manifest.digests), name, cases, tiled)


def _test_image(plan: Plan, path: Path | None) -> NDArray[np.float32]:
    side = 2 * smallest(plan.manifest.encoder.halo, plan.manifest.margin)
    if path is None:
        noise = np.random.RandomState(0).rand(side // 2 + 20, side // 2 + 30, 3)
        return noise.astype(np.float32)
    rgb = read_image(path).rgb
    top, left = (max(length - side, 0) // 2 for length in rgb.shape[:2])
    middle = rgb[top : top + side, left : left + side]
    # A picture that fits one tile would prove nothing: mirror it until it does not.
    more = [(0, max(side // 2 + 20 - length, 0)) for length in middle.shape[:2]]
    return np.pad(middle, [*more, (0, 0)], mode="symmetric")
