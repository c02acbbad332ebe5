"""Encoding an image: fixed-shape tiles, stitched into features of full width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from clit_deploy.grid.tiling import Tile, round_up, tiles
from clit_deploy.images.pixels import to_unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import Size
    from clit_deploy.grid.geometry import Span
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.runtimes.protocols import Array, Arrays, Runner, Runtime


class FeatureSource(Protocol):
    """Features of a (padded) image, whose size is `image`."""

    @property
    def image(self) -> Size:
        """Height and width of the padded image."""
        ...

    def patch(self, rows: Span, cols: Span, stop: Callable[[], None] | None = None) -> Array:
        """Features at `rows` and `cols`, `[1, channels, r, c]`; zero outside the image."""
        ...


@dataclass(frozen=True)
class Features:
    """Features `[1, channels, rows, w]` of the rows `rows` of a (padded) image of size `image`."""

    array: Array
    rows: Span
    image: Size
    arrays: Arrays

    def patch(
        self,
        rows: Span,
        cols: Span,
        stop: Callable[[], None] | None = None,  # noqa: ARG002
    ) -> Array:
        """Features at `rows` and `cols`, `[1, channels, r, c]`; zero outside the image."""
        r, c = rows.clip(self.image[0]), cols.clip(self.image[1])
        if r.start < self.rows.start or r.stop > self.rows.stop:
            raise AssertionError(f"rows {r} were requested, but {self.rows} are encoded")
        top = self.rows.start
        inner = self.array[:, :, r.start - top : r.stop - top, c.start : c.stop]
        make = self.arrays.empty if (r, c) == (rows, cols) else self.arrays.zeros
        patch = make((1, self.array.shape[1], len(rows), len(cols)), self.array.dtype)
        y, x = r.start - rows.start, c.start - cols.start
        self.arrays.copy(patch[:, :, y : y + len(r), x : x + len(c)], inner)
        return patch


class TileEncoder:
    """The encoder graph of a plan, specialized to the tile shapes that occur."""

    def __init__(self, plan: Plan, runtime: Runtime) -> None:
        self.info = plan.manifest.encoder
        self._plan = plan
        self._runtime = runtime
        self._runners: dict[Size, Runner] = {}

    def padded_size(self, image: Size) -> Size:
        """The size that an image of this size is encoded at."""
        return round_up(image[0], self.info.multiple), round_up(image[1], self.info.multiple)

    def tiles(self, length: int, tile: int, margin: int) -> list[Tile]:
        """Tiles along one axis of a padded image; see `tiling.tiles`."""
        return tiles(length, tile, self.info.halo, margin, self.info.multiple)

    def encode(
        self, image: NDArray[np.generic], rows: Tile, tile: int, cols: Span | None = None
    ) -> Features:
        """Features of the valid rows of one row of tiles, over the whole width.

        Args:
            image: `[h, w, 3]` of any type of `images.pixels`; it is mirrored at its lower and
                right edges as far as the encoder needs it.
            rows: the tiles' position along the height.
            tile: the tile's width in pixels, at most.
            cols: the columns whose features are needed, the others may be undefined; None for all.
        """
        height, width = self.padded_size((image.shape[0], image.shape[1]))
        parts = self.tiles(width, tile, margin=0)
        arrays = self._runtime.arrays
        band: Array | None = None
        for part in parts:
            if cols and not part.core.within(cols):
                continue
            features = self._tile(image, rows.seen, part.seen, (rows.valid, part.core))
            if band is None:
                band = arrays.empty((1, features.shape[1], len(rows.valid), width), features.dtype)
            arrays.copy(band[:, :, :, part.core.start : part.core.stop], features)
        assert band is not None  # noqa: S101  (every image has a tile)
        return Features(band, rows.valid, (height, width), arrays)

    def core(self, image: NDArray[np.generic], rows: Tile, cols: Tile) -> Array:
        """Features of the core of one tile, in memory of their own; `image` as in `encode`."""
        view = self._tile(image, rows.seen, cols.seen, (rows.core, cols.core))
        features = self._runtime.arrays.empty(view.shape, view.dtype)
        self._runtime.arrays.copy(features, view)
        return features

    def _tile(
        self, image: NDArray[np.generic], rows: Span, cols: Span, part: tuple[Span, Span]
    ) -> Array:
        """The features of a part of the pixels `rows x cols`, encoded together."""
        seen = image[_mirrored(rows, len(image))][:, _mirrored(cols, image.shape[1])]
        patch = np.ascontiguousarray(to_unit(seen).transpose(2, 0, 1)[None])
        features = self._runner((len(rows), len(cols))).run({"image": patch})
        top, left = part[0].start - rows.start, part[1].start - cols.start
        view: Array = features[:, :, top : top + len(part[0]), left : left + len(part[1])]
        return view

    def close(self) -> None:
        """Release the graphs."""
        self._runners.clear()

    def _runner(self, shape: Size) -> Runner:
        if shape not in self._runners:
            self._runners.clear()  # one shape at a time: a session holds its own weights
            dims = {"height": shape[0], "width": shape[1]}
            runner = self._runtime.runner(self._plan, self.info.graph, parallel=True, dims=dims)
            self._runners[shape] = runner
        return self._runners[shape]


def _mirrored(span: Span, length: int) -> slice | NDArray[np.int64]:
    """The pixels of an axis at the positions `span`, mirrored at its end as often as needed."""
    if span.stop <= length:
        return slice(span.start, span.stop)
    index = np.arange(span.start, span.stop) % (2 * length)
    return np.where(index < length, index, 2 * length - 1 - index)
