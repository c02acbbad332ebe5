"""Decibels beside milliseconds, so that nobody ships a fast black picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.config import Precision, show_bytes
from clit_deploy.errors import ClitDeployError, MemoryBudgetError, ProfileError, error_message
from clit_deploy.grid.tiling import round_up
from clit_deploy.plan.plan_file import Plan
from clit_deploy.profile.plan_variants import plans_of_same_checkpoint
from clit_deploy.profile.records import Quality
from clit_deploy.quality.metrics import psnr
from clit_deploy.quality.parity import LEAST_NOISE
from clit_deploy.render.layout import Layout
from clit_deploy.system import memory
from clit_deploy.upscaler import Upscaler

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

WHOLE_BLOCK = 256
UNTILED = "ONNX Runtime's CPU, untiled"
BYTES_HELD = 24
"""Of the two outputs, a pixel."""


@dataclass
class Reference:
    """Outputs of an FP32 plan on ONNX Runtime's CPU. The last one is kept, in a file: in memory it
    would be a part of what later rows are said to hold."""

    picture: NDArray[np.float32]
    named: Path | None
    """The plan that `--reference` names."""
    plans: Sequence[Path]
    """The plans that are measured: one of the same checkpoint may serve."""
    folder: Path
    """Where the file is."""
    allowed: int | None = None
    """Bytes that the process may hold; None leaves it to the machine."""
    _kept: tuple[Path, float] | None = None
    """Plan and scale of what the file holds."""

    def score(self, up: Upscaler, scale: float) -> tuple[Quality | None, str]:
        """The plan's own output against the reference's; or None and why there is no reference."""
        path = self._reference(up.plan)
        if path is None:
            kind = up.plan.manifest.precision
            return None, f"the plan is {kind}, and not one FP32 plan is beside it; name --reference"
        try:
            name, expected = self._expected(path, scale)
        except (ClitDeployError, OSError) as error:  # what was measured is not lost by it
            return None, f"there is no reference from {path.name}: {error_message(error)}"
        try:
            got = up.upscale(self.picture, scale=scale, clip=False)
        except MemoryBudgetError as error:
            return None, f"the whole output does not fit: {error}"
        exact = got.astype(np.float64)
        decibels = psnr(exact, expected, least=LEAST_NOISE)
        if not math.isfinite(decibels):
            return None, "the output holds NaN or infinite values"
        return Quality(name, decibels, float(np.abs(exact - expected).max())), ""

    def _reference(self, plan: Plan) -> Path | None:
        """The plan that is named, the plan itself, one that is measured, or one beside it."""
        if self.named:
            return self.named
        if plan.manifest.precision == "fp32":
            return plan.path
        for path in self.plans:
            other = Plan.open(path).manifest
            if other.precision == "fp32" and other.source.sha256 == plan.manifest.source.sha256:
                return path
        beside = plans_of_same_checkpoint(plan.path, Precision.FP32) if plan.path else []
        return beside[0] if len(beside) == 1 else None

    def _expected(self, path: Path, scale: float) -> tuple[str, NDArray[np.float32]]:
        kept = self.folder / "reference.npy"
        if self._kept != (path, scale):
            self._kept = None
            np.save(kept, self._made(path, scale))
            self._kept = path, scale
        return f"{path.name}, {UNTILED}", np.load(kept, mmap_mode="r")

    def _made(self, path: Path, scale: float) -> NDArray[np.float32]:
        plan = Plan.open(path)
        whole = Layout(_side(plan, self.picture), WHOLE_BLOCK)
        with Upscaler(plan, runtime="cpu") as up:
            job = up.renderer.job(self.picture, scale=scale)
            rendering = up.renderer.prepare(job, held_per_pixel=BYTES_HELD, layout=whole)
            self._check_memory(rendering.forecast.peak)
            return rendering.array()

    def _check_memory(self, needed: int) -> None:
        limit = memory.limit(self.allowed)
        if limit is not None and needed > limit:
            raise MemoryBudgetError(
                f"untiled it needs {show_bytes(needed)}, and there are {show_bytes(limit)}"
            )


def check_reference(path: Path) -> None:
    """Refuse what cannot stand for the truth.

    Raises:
        MissingFileError, PlanError: there is no plan of that name.
        ProfileError: the plan is not FP32.
    """
    precision = Plan.open(path).manifest.precision
    if precision != "fp32":
        raise ProfileError(
            f"{path.name} is {precision}, and decibels are measured against an FP32 plan; "
            "name that one with --reference."
        )


def _side(plan: Plan, picture: NDArray[np.float32]) -> int:
    multiple, longest = plan.manifest.encoder.multiple, max(len(picture), picture.shape[1])
    return round_up(longest, multiple)
