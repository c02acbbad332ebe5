"""Parity checks: a plan against stored outputs, and tiles against the whole image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.errors import ParityError, PlanError
from clit_deploy.grid.tiling import round_up, smallest
from clit_deploy.images.image_files import read_image
from clit_deploy.images.pixels import to_unit
from clit_deploy.plan.manifest import ParityCase, TiledCase
from clit_deploy.plan.npz import pack_arrays
from clit_deploy.quality.metrics import psnr
from clit_deploy.render.layout import Layout
from clit_deploy.upscaler import Upscaler

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from clit_deploy.plan.plan_file import Plan

TILED_SCALE = 2.5
LEAST_NOISE = 1e-16
"""Mean square error that counts as none: 160 dB."""
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


def compare_samples(
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
    encoder, limits = up.plan.manifest.encoder, up.runtime.work_limits
    tiled = Layout(smallest(encoder.halo, up.plan.manifest.margin, encoder.multiple), 32)
    longest = round_up(max(image.shape), encoder.multiple)
    whole = Layout(min(longest, limits.max_tile or longest), limits.max_block or 512)
    job = up.renderer.job(image, scale=scale)
    got, expected = (up.renderer.prepare(job, layout=x).array(image) for x in (tiled, whole))
    exact = got.astype(np.float64)
    return TiledCase(
        scale,
        (image.shape[0], image.shape[1]),
        tiled.tile,
        tiled.block,
        float(np.abs(exact - expected).max()),
        psnr(exact, expected, least=LEAST_NOISE),
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


def tiling_image(plan: Plan, path: Path | None = None) -> NDArray[np.float32]:
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
    middle = to_unit(rgb[top : top + 2 * tile, left : left + 2 * tile])
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
