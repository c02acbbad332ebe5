"""Features of an image, tile by tile: computed when they are first read, and kept as far as a
budget allows.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.config import show_bytes
from clit_deploy.errors import ClosedError, OptionError
from clit_deploy.runtimes.host_arrays import HostArrays
from clit_deploy.system.phases import phase

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import Size
    from clit_deploy.grid.geometry import Span
    from clit_deploy.render.encoder import TileEncoder
    from clit_deploy.render.lifetime import Lifetime
    from clit_deploy.runtimes.protocols import Array, Arrays

Place = tuple[int, int]
"""Row and column of a tile in the grid of tiles."""


class FeatureTiles:
    """The features of one image; several threads may read them at once.

    Args:
        encoder: what computes them.
        size: height and width of the image; `read_from` takes its pixels.
        side: of a tile, in pixels.
        budget: bytes of features to keep; what was not read for the longest time goes first.
        half: keep them as float16, in half the memory.
        life: of the graphs.
        arrays: where features are.

    Raises:
        OptionError: the features are on a device, which cannot keep them as float16.
    """

    def __init__(
        self,
        encoder: TileEncoder,
        size: Size,
        side: int,
        budget: int,
        *,
        half: bool,
        life: Lifetime,
        arrays: Arrays,
    ) -> None:
        self._encoder, self.side = encoder, side
        self._image: NDArray[np.generic] | None = None
        self._budget, self._half, self._life, self._arrays = budget, half, life, arrays
        self.image = encoder.padded_size(size)
        self._rows, self._cols = (encoder.tiles(length, side, margin=0) for length in self.image)
        rows, cols = (max(len(t.core) for t in tiles) for tiles in (self._rows, self._cols))
        self.tile_bytes = rows * cols * encoder.info.channels * (2 if half else 4)
        """Bytes of the largest tile."""
        if half and not isinstance(arrays, HostArrays):
            raise OptionError("Features on a device cannot be kept as float16; leave half out.")
        self._kept: OrderedDict[Place, Array] = OrderedDict()
        self._under_way: dict[Place, threading.Event] = {}
        self._changing = threading.Lock()
        self._closed = False
        self.computed = 0
        """How many tiles were computed so far, repeated ones included."""

    def read_from(self, image: NDArray[np.generic]) -> None:
        """Compute features from these pixels, `[h, w, 3]` of any type of `images.pixels`. They may
        be given again, if they are the same."""
        self._image = image

    def check_budget(self) -> None:
        """Refuse a budget that does not hold one tile.

        Raises:
            OptionError: with the bytes that one takes.
        """
        if self._budget < self.tile_bytes:
            raise OptionError(
                f"A cache of {show_bytes(self._budget)} cannot hold one tile of features, which "
                f"takes {show_bytes(self.tile_bytes)}; give it at least that."
            )

    @property
    def room(self) -> int:
        """Bytes that the features may still grow by."""
        whole = self.image[0] * self.image[1] * self._encoder.info.channels
        return min(self._budget, whole * (2 if self._half else 4)) - self.held

    @property
    def held(self) -> int:
        """Bytes of features that are kept now."""
        with self._changing:
            return _bytes(self._kept)

    def close(self) -> None:
        """Forget all features, and refuse to read any."""
        with self._changing:
            self._closed = True
            self._kept.clear()

    def fetch(self, rows: Span, cols: Span, stop: Callable[[], None] | None = None) -> None:
        """Compute what `patch` reads, as far as the budget holds it."""
        places = self._places(rows.clip(self.image[0]), cols.clip(self.image[1]))
        for place in places[: self._budget // self.tile_bytes]:
            if stop:
                stop()
            self._tile(place)

    def patch(self, rows: Span, cols: Span, stop: Callable[[], None] | None = None) -> Array:
        """Features at `rows` and `cols`, `[1, channels, r, c]`; zero outside the image.

        Args:
            rows: of the padded image; they may reach outside.
            cols: the same.
            stop: called before each tile; it raises where the work is not wanted any more.
        """
        inside = rows.clip(self.image[0]), cols.clip(self.image[1])
        whole = inside == (rows, cols)
        patch: Array | None = None
        for i, j in self._places(*inside):
            if stop:
                stop()
            tile = self._tile((i, j))
            if patch is None:
                make = self._arrays.empty if whole else self._arrays.zeros
                kind = np.dtype(np.float32) if self._half else tile.dtype
                patch = make((1, tile.shape[1], len(rows), len(cols)), kind)
            core = self._rows[i].core, self._cols[j].core
            r, c = core[0].within(inside[0]), core[1].within(inside[1])
            self._arrays.copy(_part(patch, (rows, cols), (r, c)), _part(tile, core, (r, c)))
        assert patch is not None  # noqa: S101  (every patch touches the image)
        return patch

    def _places(self, rows: Span, cols: Span) -> list[Place]:
        return [
            (i, j)
            for i, row in enumerate(self._rows)
            if row.core.within(rows)
            for j, col in enumerate(self._cols)
            if col.core.within(cols)
        ]

    def _tile(self, place: Place) -> Array:
        """The features of one tile's core, computed once even if several threads need them."""
        while True:
            with self._changing:
                if self._closed:
                    raise ClosedError("This encoded image is closed; encode the image again.")
                if place in self._kept:
                    self._kept.move_to_end(place)
                    return self._kept[place]
                waiting = self._under_way.get(place)
                if waiting is None:
                    self._under_way[place] = threading.Event()
                    break
            waiting.wait()
        try:
            tile = self._compute(place)
            with self._changing:
                self._keep(place, tile)
            return tile
        finally:
            with self._changing:
                self._under_way.pop(place).set()

    def _compute(self, place: Place) -> Array:
        rows, cols = self._rows[place[0]], self._cols[place[1]]
        assert self._image is not None  # noqa: S101  (see `read_from`)
        with self._life.work(), phase("encoder"):
            features = self._encoder.core(self._image, rows, cols)
            return self._arrays.host(features).astype(np.float16) if self._half else features

    def _keep(self, place: Place, tile: Array) -> None:
        self.computed += 1
        if not self._closed:
            self._kept[place] = tile
        while _bytes(self._kept) > self._budget:
            self._kept.popitem(last=False)


def _part(array: Array, spans: tuple[Span, Span], part: tuple[Span, Span]) -> Array:
    """The part of an array `[1, c, rows, cols]` that covers `spans`."""
    rows, cols = (
        slice(inner.start - outer.start, inner.stop - outer.start)
        for outer, inner in zip(spans, part, strict=True)
    )
    view: Array = array[:, :, rows, cols]
    return view


def _bytes(kept: OrderedDict[Place, Array]) -> int:
    return sum(math.prod(tile.shape) * tile.dtype.itemsize for tile in kept.values())
