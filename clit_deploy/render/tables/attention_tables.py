"""Tables that all attention over windows needs: interpolation weights and the position bias."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from clit_deploy.render.tables.family_tables import Feeds, Side, Tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from clit_deploy.grid.geometry import AxisQueries


WIDEST = 64
"""Largest reach of an attention window in grid pixels; published models have 3."""


class AttentionTables(Tables):
    """Tables of attention around the nearest grid pixel.

    Args:
        args: the published hyperparameters.
        arrays: if the position bias splits into rows and columns: `frequencies [f]`, `bias_row`
            and `bias_col [heads, 2f]` (sines, then cosines), `bias [heads]`, and `damped`, whether
            waves shorter than the output pixel fade. Without `bias` the stage has its own graph
            for it.
    """

    def __init__(self, args: Mapping[str, Any], arrays: Mapping[str, NDArray[np.float64]]) -> None:
        self.r = int(args.get("r", 3))
        if not 0 <= self.r <= WIDEST:
            raise ValueError(f"r is {self.r}")
        self.arrays = {name: array.astype(np.float64) for name, array in arrays.items()}

    def axis(self, side: Side, places: AxisQueries) -> Feeds:
        """Bilinear weights `[..., 3]` and position bias `[..., heads, 2r + 1]`."""
        offset = places.offset(places.pixels()[..., None])[..., 0]
        half = offset / 2
        weights = np.stack([np.maximum(-half, 0), 1 - np.abs(half), np.maximum(half, 0)], axis=-1)
        feeds = {f"{side}_weights": weights.astype(np.float32)}
        if "bias" in self.arrays:
            feeds[f"{side}_bias"] = self._bias(side, offset, places.step).astype(np.float32)
        return feeds

    def _bias(
        self, side: Side, offset: NDArray[np.float64], step: float | NDArray[np.float64]
    ) -> NDArray[np.float64]:
        frequencies = self.arrays["frequencies"]
        steps = 2.0 * np.arange(-self.r, self.r + 1)
        angle = (offset[..., None] - steps)[..., None] * frequencies
        waves = np.concatenate([np.sin(angle), np.cos(angle)], axis=-1)
        if self.arrays["damped"]:
            fade = damping(np.asarray(step)[..., None, None], frequencies)
            waves *= np.concatenate([fade, fade], axis=-1)
        bias: NDArray[np.float64] = np.moveaxis(waves @ self.arrays[f"bias_{side}"].T, -1, -2)
        if side == "row":
            bias += self.arrays["bias"][:, None]
        return bias


def damping(step: NDArray[np.float64], frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
    """The factor of a wave that is averaged over one pixel on either side: sin(x) / x."""
    left: NDArray[np.float64] = np.sinc(step * frequencies / np.pi)
    return left
