"""Decibels beside milliseconds, so that nobody ships a fast black image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.config import Precision, show_bytes
from clit_deploy.errors import MemoryBudgetError, ProfileError
from clit_deploy.grid.tiling import round_up
from clit_deploy.plan.plan_file import Plan
from clit_deploy.profile.plan_variants import matching, plans_of_same_checkpoint
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
"""Per pixel, of the two outputs."""


@dataclass
class Reference:
    """Outputs of an FP32 plan on ONNX Runtime's CPU. The last one is kept in a file: in memory it
    would count as held by later rows."""

    image: NDArray[np.float32]
    named: Path | None
    """The plan that `--reference` names."""
    plans: Sequence[Path]
    """The plans that are measured: one of the same checkpoint may serve."""
    folder: Path
    """Where the file is."""
    allowed: int | None = None
    """Bytes that the process may hold; None sets no limit beside the machine's."""
    _kept: tuple[Path, float] | None = None
    """Plan and scale of the output in the file."""

    def score(self, up: Upscaler, scale: float) -> Quality:
        """The plan's own output compared with the reference's.

        Raises:
            ClitDeployError, OSError: there is no reference, or it cannot be made or kept.
        """
        path = self._reference(up.plan)
        if path is None:
            raise ProfileError(
                f"the plan is {up.plan.manifest.precision}, and there is not exactly one FP32 plan "
                "of the same checkpoint beside it; name one with --reference"
            )
        name, expected = self._expected(path, scale)
        exact = up.upscale(self.image, scale=scale, clip=False).astype(np.float64)
        decibels = psnr(exact, expected, least=LEAST_NOISE)
        if not math.isfinite(decibels):
            raise ProfileError("the output holds NaN or infinite values")
        return Quality(name, decibels, float(np.abs(exact - expected).max()))

    def _reference(self, plan: Plan) -> Path | None:
        """The plan that is named, the plan itself, one that is measured, or one beside it."""
        if self.named:
            return self.named
        if plan.manifest.precision == "fp32":
            return plan.path
        if measured := matching(self.plans, plan, Precision.FP32):
            return measured[0]
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
        side = round_up(max(self.image.shape[:2]), plan.manifest.encoder.multiple)
        whole = Layout(side, WHOLE_BLOCK)
        with Upscaler(plan, runtime="cpu") as up:
            job = up.renderer.job(self.image, scale=scale)
            rendering = up.renderer.prepare(job, held_per_pixel=BYTES_HELD, layout=whole)
            needed, limit = rendering.forecast.peak, memory.limit(self.allowed)
            if limit is not None and needed > limit:
                raise MemoryBudgetError(
                    f"the reference needs {show_bytes(needed)} untiled, but only "
                    f"{show_bytes(limit)} are available"
                )
            return rendering.array(self.image)


def check_reference(path: Path) -> None:
    """Refuse a plan that cannot be the reference.

    Raises:
        MissingFileError, PlanError: it cannot be read.
        ProfileError: the plan is not FP32.
    """
    precision = Plan.open(path).manifest.precision
    if precision != "fp32":
        raise ProfileError(
            f"{path.name} is {precision}, but --reference needs an FP32 plan; name another one."
        )
