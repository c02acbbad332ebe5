"""The settings of a calibration, validated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clit_deploy.config import Precision
from clit_deploy.errors import OptionError
from clit_deploy.images.image_folders import images_in

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_DROP = 0.05
"""dB that INT8 may lose; the advantage of CLIT over LIIF is 0.15."""

HALF_DROP = 0.01
"""dB of it that are reserved for FP16 in a plan with both."""

QUANTIZED = (Precision.INT8, Precision.INT8_FP16)
"""Precisions that need a calibration."""


@dataclass(frozen=True)
class Settings:
    """Valid settings.

    Raises:
        MissingFileError: there are no such images.
        OptionError: another value is out of range.
    """

    images: Path | Sequence[Path] | None = None
    """A folder of photographs, or photographs; None for those of the package."""
    precision: Precision = Precision.INT8
    """`int8` for CPUs, or `int8-fp16` for TensorRT."""
    max_drop: float = MAX_DROP
    """dB of luminance PSNR that may be lost at x2, x4 and x12, on the worst kind of image."""
    seed: int = 0
    """Decides the random scales of the samples, and which samples are kept."""

    def __post_init__(self) -> None:
        if self.images is not None:
            images_in(self.images)
        if self.precision not in QUANTIZED:
            known = " and ".join(kind.value for kind in QUANTIZED)
            raise OptionError(
                f"Calibration makes plans of precision {known}, not {self.precision.value}."
            )
        if not 0 <= self.seed < 2**32:
            raise OptionError(f"The seed is {self.seed}; it must be from 0 to {2**32 - 1}.")
        if not 0 < self.budget < math.inf:
            raise OptionError(
                f"The allowed drop is {self.max_drop} dB; it must be above {self._half:g}, for "
                f"example {MAX_DROP}."
            )

    @property
    def budget(self) -> float:
        """dB that INT8 alone may lose."""
        return self.max_drop - self._half

    @property
    def _half(self) -> float:
        return HALF_DROP if self.precision is Precision.INT8_FP16 else 0.0

    @classmethod
    def of(
        cls,
        images: str | Path | Sequence[Path] | None,
        precision: Precision,
        max_drop: float | None = None,
        seed: int = 0,
    ) -> Settings:
        """Settings from a caller's arguments; None is the default."""
        return cls(
            Path(images) if isinstance(images, str) else images,
            precision,
            MAX_DROP if max_drop is None else max_drop,
            seed,
        )
