"""A square of output pixels within a crop, and the cascade that answers it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clit_deploy.grid.geometry import Span


@dataclass(frozen=True)
class Patch:
    """Which outputs of a square crop are decoded."""

    low: int
    """Side of the low-resolution crop."""
    size: int
    """Side of the high-resolution crop."""
    factors: tuple[float, ...]
    """The scale of every stage that is used; stage `s` works on the grid of the crop times the
    factors of the stages before it (CLIT, section 3.3)."""
    rows: Span
    cols: Span

    @property
    def scale(self) -> float:
        """The scale of the whole cascade."""
        return math.prod(self.factors)

    def grid(self, stage: int) -> int:
        """Side of a stage's grid."""
        return round(self.low * math.prod(self.factors[:stage]))
