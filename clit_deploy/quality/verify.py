"""Is a plan right here and now? Its proof repeated, and tiles against the whole image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.config import Precision
from clit_deploy.engines.check import allowed_error, check_engines
from clit_deploy.errors import ParityError, PlanError
from clit_deploy.grid.tiling import round_up, smallest
from clit_deploy.images.image_files import read_image
from clit_deploy.plan.manifest import ParityCase, TiledCase
from clit_deploy.plan.plan_file import pack_arrays
from clit_deploy.render.scheduler import Layout
from clit_deploy.runtimes.trt.engine_runtime import EngineRuntime
from clit_deploy.upscaler import Upscaler

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from clit_deploy.plan.plan_file import Plan

TILED_SCALE = 2.5
TILED_TOLERANCE = 1e-5
"""Largest difference of tiled from whole, in the image's 0..1."""
ROUNDED_TOLERANCE = 1e-2
"""The same where results are rounded to fewer bits: other shapes are summed in another order."""


@dataclass(frozen=True)
class ParitySample:
    """A small image and what the PyTorch model makes of it."""

    scale: float
    image: NDArray[np.uint8]
    expected: NDArray[np.float32]

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """As it is kept in a plan."""
        return {"scale": np.float64(self.scale), "image": self.image, "expected": self.expected}


def pack_samples(samples: Sequence[ParitySample]) -> bytes:
    """Samples as the bytes of a plan's member."""
    return pack_arrays(
        {f"{field}{k}": value for k, s in enumerate(samples) for field, value in s.arrays().items()}
    )


def stored_samples(plan: Plan) -> list[ParitySample]:
    """The samples of the plan's proof.

    Raises:
        PlanError: the plan carries no proof.
    """
    if plan.manifest.proof is None:
        raise PlanError(f"{plan.name} carries no proof; export the checkpoint again.")
    arrays = plan.arrays(plan.manifest.proof.samples)
    return [
        ParitySample(
            float(arrays[f"scale{k}"]),
            arrays[f"image{k}"].astype(np.uint8),
            arrays[f"expected{k}"].astype(np.float32),
        )
        for k in range(len(plan.manifest.proof.cases))
    ]


def compare(
    plan: Plan, samples: Sequence[ParitySample], tolerance: float
) -> tuple[str, tuple[ParityCase, ...]]:
    """Render the samples with the plan on the processor; see `compare_on`."""
    with Upscaler(plan, runtime="cpu") as up:
        return up.runtime.name, compare_on(up, samples, tolerance)


def compare_on(
    up: Upscaler, samples: Sequence[ParitySample], tolerance: float
) -> tuple[ParityCase, ...]:
    """Render the samples; return the errors.

    Raises:
        ParityError: an error above the tolerance.
    """
    cases = []
    for sample in samples:
        got = up.upscale(sample.image, scale=sample.scale, clip=False)
        error = float(np.abs(got - sample.expected).max())
        shapes = sample.image.shape[:2], got.shape[:2]
        relative = error / (float(sample.expected.std()) or 1.0)
        cases.append(ParityCase(sample.scale, *shapes, error, relative))
    wrong = [case for case in cases if not case.relative_error <= tolerance]  # NaN is wrong
    if wrong:
        worst = wrong[0]
        raise ParityError(
            f"The graphs are wrong by {worst.relative_error:.2g} of the output's deviation at "
            f"x{worst.scale:g}; at most {tolerance:g} is allowed ({up.runtime.name})."
        )
    return tuple(cases)


def tiled_against_whole(plan: Plan, image: NDArray[np.generic], scale: float) -> TiledCase:
    """Render an image on the processor with the smallest tiles and blocks, and whole."""
    with Upscaler(plan, runtime="cpu") as up:
        return tiled_on(up, image, scale)


def tiled_on(up: Upscaler, image: NDArray[np.generic], scale: float) -> TiledCase:
    """Render an image with the smallest tiles and blocks, and whole."""
    encoder, limits, before = up.plan.manifest.encoder, up.runtime.work_limits, up.layout
    tiled = Layout(smallest(encoder.halo, up.plan.manifest.margin, encoder.multiple), 32)
    longest = round_up(max(image.shape), encoder.multiple)
    whole = Layout(min(longest, limits.max_tile or longest), limits.max_block or 512)
    results = []
    for layout in (tiled, whole):
        up.layout = layout
        results.append(up.upscale(image, scale=scale, clip=False))
    up.layout = before
    difference = results[0].astype(np.float64) - results[1]
    noise = float(np.mean(difference**2))
    return TiledCase(
        scale,
        (image.shape[0], image.shape[1]),
        tiled.tile,
        tiled.block,
        float(np.abs(difference).max()),
        -10 * math.log10(max(noise, 1e-16)),
    )


def check_tiled(found: TiledCase, expected: TiledCase | None, *, exact: bool = True) -> None:
    """Refuse tiles that differ from the whole, or by much more than they did at the export.

    Raises:
        ParityError: they do.
    """
    limit = TILED_TOLERANCE if exact else ROUNDED_TOLERANCE
    if expected is not None:
        limit += 2 * expected.max_difference
    if not found.max_difference <= limit:
        raise ParityError(
            f"Tiled and whole differ by {found.max_difference:.2g} at x{found.scale:g} on "
            f"{found.image[1]}x{found.image[0]} pixels; at most {limit:.2g} is allowed."
        )


@dataclass(frozen=True)
class Verification:
    """All that `verify_plan` checked; it raises where something is wrong."""

    members: int
    runtime: str
    cases: tuple[ParityCase, ...]
    tiled: TiledCase
    engines: float | None
    """Largest difference from ONNX Runtime over the output's deviation, where engines ran."""


def verify_plan(
    plan: Plan, image: Path | None = None, runtime: str = "auto", *, rebuild: bool = True
) -> Verification:
    """Check every digest, repeat the proof, compare tiled with whole, and engines with graphs.

    Args:
        plan: the plan.
        image: a picture for the comparison of tiled with whole, of which the middle is taken
            where it is larger than two tiles; by default noise.
        runtime: where to run.
        rebuild: build engines where those of the plan are missing or for another device.

    Raises:
        PlanError: a damaged plan, or one without a proof.
        ParityError: something differs by more than its tolerance. Where tiling is not exact, that
            is what the export measured on its own picture; another image's figure is only told.
        EngineError: engines compute something else than the graphs.
    """
    members = list(plan.manifest.digests)
    for member in members:
        plan.read(member)
    samples, proof = stored_samples(plan), plan.manifest.proof
    assert proof is not None  # noqa: S101  (stored_samples has checked)
    with Upscaler(plan, runtime=runtime, rebuild=rebuild) as up:
        plan, name = up.plan, up.runtime.name
        on_engines = isinstance(up.runtime, EngineRuntime)
        engines = check_engines(plan, up.runtime) if on_engines else None
        tolerance = proof.tolerance if engines is None else allowed_error(plan)
        cases = compare_on(up, samples, tolerance)
        tiled = tiled_on(up, tiling_picture(plan, image), TILED_SCALE)
    if image is None or plan.manifest.encoder.exact:
        exact = plan.manifest.precision == Precision.FP32.value and engines is None
        check_tiled(tiled, plan.manifest.encoder.tiling, exact=exact)
    return Verification(len(members), name, cases, tiled, engines)


def tiling_picture(plan: Plan, path: Path | None = None) -> NDArray[np.float32]:
    """A picture larger than the smallest tile: the middle of a file, or a made one."""
    encoder = plan.manifest.encoder
    tile = smallest(encoder.halo, plan.manifest.margin, encoder.multiple)
    if path is None and encoder.exact:
        return discs(tile + 8, tile + 16)
    if path is None:
        # A tile does not see how bright the rest of the picture is: let that differ a lot.
        wide = discs(tile + 8, 5 * tile // 2)
        return wide * np.linspace(0.1, 1, wide.shape[1], dtype=np.float32)[:, None]
    rgb = read_image(path).rgb
    top, left = (max(length - 2 * tile, 0) // 2 for length in rgb.shape[:2])
    middle = rgb[top : top + 2 * tile, left : left + 2 * tile]
    # A picture that fits one tile would prove nothing: mirror it until it does not.
    more = [(0, max(tile + 8 - length, 0)) for length in middle.shape[:2]]
    return np.pad(middle, [*more, (0, 0)], mode="symmetric")


def discs(height: int, width: int) -> NDArray[np.float32]:
    """Overlapping discs of many sizes, with some noise: edges, areas and statistics that differ
    from place to place, as in photographs (the dead leaves model)."""
    rng = np.random.RandomState(0)
    y, x = np.mgrid[:height, :width]
    image = np.full((height, width, 3), 0.5)
    for radius in sorted(3 / rng.uniform(0.05, 1, 150), reverse=True):
        row, col = rng.uniform(0, height), rng.uniform(0, width)
        image[(y - row) ** 2 + (x - col) ** 2 < radius**2] = rng.uniform(0, 1, 3)
    noisy = image + 0.02 * rng.standard_normal(image.shape)
    return np.clip(noisy, 0, 1).astype(np.float32)
