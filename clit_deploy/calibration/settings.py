"""What a user may wish of a calibration."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from clit_deploy.config import Precision, member
from clit_deploy.errors import OptionError
from clit_deploy.images.image_files import images_in

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_DROP = 0.05
"""dB that INT8 may cost; the advantage of CLIT over LIIF is 0.15."""

HALF_DROP = 0.01
"""dB of it that are left to FP16 where both are in a plan."""

QUANTISED = (Precision.INT8, Precision.INT8_FP16)
"""Precisions that need a calibration."""


class Method(str, Enum):
    """How the range of an activation is chosen."""

    MINMAX = "minmax"
    PERCENTILE = "percentile"
    ENTROPY = "entropy"


@dataclass(frozen=True)
class Settings:
    """Wishes that make sense.

    Raises:
        MissingFileError: there are no such images.
        OptionError: any other value out of range.
    """

    images: Path | Sequence[Path] | None = None
    """A folder of photographs, or photographs; None for those of the package."""
    precision: Precision = Precision.INT8
    """`int8` in the form for processors, or `int8-fp16` for TensorRT."""
    max_drop: float = MAX_DROP
    """dB of luminance PSNR on held-out pictures that may be lost at x2, x4 and x12."""
    method: Method = Method.MINMAX
    seed: int = 0
    """Of the samples."""

    def __post_init__(self) -> None:
        if self.images is not None:
            images_in(self.images)
        if self.precision not in QUANTISED:
            known = " and ".join(kind.value for kind in QUANTISED)
            raise OptionError(
                f"Calibration makes {known}, not {self.precision.value}; choose one of them."
            )
        if not 0 <= self.seed < 2**32:
            raise OptionError(f"The seed is {self.seed}; give one from 0 to {2**32 - 1}.")
        if not 0 < self.budget < math.inf:
            raise OptionError(
                f"The drop allowed is {self.max_drop} dB; give one above {self._half:g}, like "
                f"{MAX_DROP}."
            )

    @property
    def budget(self) -> float:
        """dB that INT8 alone may lose."""
        return self.max_drop - self._half

    @property
    def _half(self) -> float:
        return HALF_DROP if self.precision is Precision.INT8_FP16 else 0.0

    @classmethod
    def parse(
        cls,
        images: str | Path | Sequence[Path] | None,
        precision: str,
        max_drop: float | None = None,
        method: str = Method.MINMAX,
        seed: int = 0,
    ) -> Settings:
        """Settings as a caller names them; None for the default."""
        return cls(
            Path(images) if isinstance(images, str) else images,
            member(Precision, precision, "precision"),
            MAX_DROP if max_drop is None else max_drop,
            member(Method, method, "method"),
            seed,
        )
