"""LIT's tables: those of its attention, and the phases of the frequency branch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.render.tables.attention_tables import AttentionTables, damping
from clit_deploy.render.tables.family_tables import Feeds, Projection, Side

if TYPE_CHECKING:
    from clit_deploy.grid.cascade import StageGrid
    from clit_deploy.grid.geometry import AxisQueries, Span


class LitTables(AttentionTables):
    """Further `arrays`: `phase_row` and `phase_col [channels]`, radians a half grid pixel, and
    `phase_damped`."""

    def project(self, stage: int, stage_grid: StageGrid, rows: Span, cols: Span) -> Projection:  # noqa: ARG002
        """Four 3x3 convolutions of the features, which are zero outside the image."""
        return Projection(rows.grow(1, 1), cols.grow(1, 1), {})

    def axis(self, side: Side, places: AxisQueries) -> Feeds:
        """Also cosines and sines of the offset's share in the phase, `[..., 2, channels]`."""
        offset = places.offset(places.pixels()[..., None])
        phase = self.arrays[f"phase_{side}"]
        waves = np.stack([np.cos(offset * phase), np.sin(offset * phase)], axis=-2)
        if self.arrays["phase_damped"]:
            waves *= damping(np.asarray(places.step)[..., None, None], phase)
        return {**super().axis(side, places), f"{side}_waves": waves.astype(np.float32)}
