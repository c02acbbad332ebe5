"""Parity checks: a plan against stored outputs, and tiled against whole rendering."""

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
"""Smallest mean square error that is measured: 160 dB."""
TILED_TOLERANCE = 1e-5
"""Largest allowed difference between tiled and whole, in the image's 0..1."""
ROUNDED_TOLERANCE = 1e-2
"""The same where results are rounded to fewer bits: other shapes sum in another order."""
MAX_OUTPUT = 10.0
"""Magnitude beyond which an output has nothing to do with an image, whose values are 0..1."""


@dataclass(frozen=True)
class ParitySample:
    """A small image, uint8 `[h, w, 3]`, and the model's output for it, float32 `[H, W, 3]`."""

    scale: float
    image: NDArray[np.uint8]
    expected: NDArray[np.float32]

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The fields as a plan stores them."""
        return {"scale": np.float64(self.scale), "image": self.image, "expected": self.expected}


def pack_samples(samples: Sequence[ParitySample]) -> bytes:
    """Pack samples into the bytes of a plan's member."""
    return pack_arrays(
        {f"{field}{k}": value for k, s in enumerate(samples) for field, value in s.arrays().items()}
    )


def stored_samples(plan: Plan) -> list[ParitySample]:
    """The samples that a plan stores for its parity check.

    Raises:
        PlanError: the plan stores none.
    """
    if plan.manifest.proof is None:
        raise PlanError(
            f"{plan.name} has no stored samples for a parity check; export the checkpoint again."
        )
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
    """Render the samples with the plan on the CPU; see `compare_on`.

    Returns: the runtime's name, and the errors.
    """
    with Upscaler(plan, runtime="cpu") as up:
        return up.runtime.name, compare_on(up, samples, tolerance)


def compare_on(
    up: Upscaler, samples: Sequence[ParitySample], tolerance: float
) -> tuple[ParityCase, ...]:
    """Render the samples and compare them with the stored outputs.

    Args:
        up: a loaded plan.
        samples: images with the expected outputs.
        tolerance: largest allowed difference, relative to the output's standard deviation.

    Returns: the error of each sample.

    Raises:
        ParityError: an error exceeds the tolerance, or is NaN.
    """
    cases = []
    for sample in samples:
        got = up.upscale(sample.image, scale=sample.scale, clip=False)
        error = float(np.abs(got - sample.expected).max())
        shapes = sample.image.shape[:2], got.shape[:2]
        relative = error / (float(sample.expected.std()) or 1.0)
        cases.append(ParityCase(sample.scale, *shapes, error, relative))
    for case, sample in zip(cases, samples, strict=True):
        if not case.relative_error <= tolerance:  # NaN fails, too
            raise ParityError(
                f"The graphs differ from the model by {case.relative_error:.2g} relative to the "
                f"output's standard deviation at x{case.scale:g}; at most {tolerance:g} is allowed "
                f"({up.runtime.name}).{_out_of_range(sample)}"
            )
    return tuple(cases)


def _out_of_range(sample: ParitySample) -> str:
    """A sentence about a model whose own output is not an image; empty if it is one."""
    reached = float(np.abs(sample.expected).max())
    if reached <= MAX_OUTPUT:
        return ""
    height, width, _ = sample.image.shape
    return (
        f" The model's own output on this {width}x{height} check image reaches {reached:.4g}, "
        "where 0 to 1 is expected, so float32 rounding alone can exceed the tolerance; the model "
        "was probably not trained on such images. Train it further, with noisy images among others."
    )


def tiled_against_whole(plan: Plan, image: NDArray[np.generic], scale: float) -> TiledCase:
    """Render an image `[h, w, 3]` on the CPU with the smallest tiles and blocks, and whole."""
    with Upscaler(plan, runtime="cpu") as up:
        return tiled_on(up, image, scale)


def tiled_on(up: Upscaler, image: NDArray[np.generic], scale: float) -> TiledCase:
    """Render an image `[h, w, 3]` with the smallest tiles and blocks, and whole."""
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
    """Refuse a difference between tiled and whole that exceeds the tolerance.

    Args:
        found: what was measured.
        expected: what the export measured, if tiling is not exact: twice as much is allowed.
        exact: whether arithmetic is float32.

    Raises:
        ParityError: the difference is larger.
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
    """An image `[h, w, 3]` larger than the smallest tile: the middle of a file, or synthetic."""
    encoder = plan.manifest.encoder
    tile = smallest(encoder.halo, plan.manifest.margin, encoder.multiple)
    if path is None and encoder.exact:
        return discs(tile + 8, tile + 16)
    if path is None:
        # A tile does not contain the brightness of the rest of the image: let that vary a lot.
        wide = discs(tile + 8, 5 * tile // 2)
        return wide * np.linspace(0.1, 1, wide.shape[1], dtype=np.float32)[:, None]
    rgb = read_image(path).rgb
    top, left = (max(length - 2 * tile, 0) // 2 for length in rgb.shape[:2])
    middle = to_unit(rgb[top : top + 2 * tile, left : left + 2 * tile])
    # An image that fits one tile would check nothing: mirror it until it does not.
    more = [(0, max(tile + 8 - length, 0)) for length in middle.shape[:2]]
    return np.pad(middle, [*more, (0, 0)], mode="symmetric")


def discs(height: int, width: int) -> NDArray[np.float32]:
    """Overlapping discs of many sizes, with some noise, `[height, width, 3]`: edges, areas and
    statistics that vary over the image, as in photographs (the dead leaves model)."""
    rng = np.random.RandomState(0)
    y, x = np.mgrid[:height, :width]
    image = np.full((height, width, 3), 0.5)
    for radius in sorted(3 / rng.uniform(0.05, 1, 150), reverse=True):
        row, col = rng.uniform(0, height), rng.uniform(0, width)
        image[(y - row) ** 2 + (x - col) ** 2 < radius**2] = rng.uniform(0, 1, 3)
    noisy = image + 0.02 * rng.standard_normal(image.shape)
    return np.clip(noisy, 0, 1).astype(np.float32)
