"""LIIF's tables: offsets from the neighboring grid pixels and their blending weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from clit_deploy.render.tables.family_tables import Feeds, Projection, Side, Tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import StageGrid
    from clit_deploy.grid.geometry import AxisQueries, Span


class LiifTables(Tables):
    """Tables of the local implicit image function; `args` are the published hyperparameters."""

    def __init__(self, args: Mapping[str, Any], arrays: Mapping[str, NDArray[np.float64]]) -> None:  # noqa: ARG002
        self.neighbors = 2 if args.get("local_ensemble", True) else 1
        self.reach = 1 if args.get("feat_unfold", True) else 0

    def project(self, stage: int, stage_grid: StageGrid, rows: Span, cols: Span) -> Projection:  # noqa: ARG002
        """The hoisted first layer needs a 3x3 neighborhood where the model unfolds features."""
        reach = self.reach
        return Projection(rows.grow(reach, reach), cols.grow(reach, reach), {})

    def axis(self, side: Side, places: AxisQueries) -> Feeds:
        """Offsets and blending weights of every neighbor, both `[..., neighbors]`."""
        pixels = places.pixels()[..., None] + np.arange(self.neighbors)
        offset = places.offset(np.clip(pixels, 0, places.padded_grid - 1))
        # Beyond the centre of the last grid pixel both neighbors are that pixel; 1e-9 keeps the
        # quotient defined on the centre itself.
        far = np.abs(offset[..., ::-1]) + 1e-9
        return {
            f"{side}_offset": offset.astype(np.float32),
            f"{side}_blend": (far / far.sum(axis=-1, keepdims=True)).astype(np.float32),
        }
