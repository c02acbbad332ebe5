"""An image whose features are kept, so that any part of it can be rendered at any zoom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.errors import CancelledError, OptionError
from clit_deploy.grid.geometry import Span
from clit_deploy.images.pixels import to_depth
from clit_deploy.images.thumbnail import html_thumbnail
from clit_deploy.render.coordinates import output_of, queries_of
from clit_deploy.render.layout import Job

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from numpy.typing import DTypeLike, NDArray

    from clit_deploy.grid.cascade import Size
    from clit_deploy.render.feature_tiles import FeatureTiles
    from clit_deploy.render.region import Rectangle
    from clit_deploy.render.renderer import Renderer

DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32))


class EncodedImage:
    """An image on an upscaler, made by `Upscaler.encode`.

    Features are computed tile by tile when a render first needs them, and kept as far as the cache
    allows. Several threads may use it at once. It lives as long as its upscaler: after that, and
    after `close`, every call raises `ClosedError`.
    """

    def __init__(
        self, renderer: Renderer, image: NDArray[np.generic], cache: int, *, half: bool
    ) -> None:
        self._renderer, self._image = renderer, image
        self._tiles: FeatureTiles = renderer.tiles(self.size, cache, half=half)
        self._tiles.read_from(image)

    def __enter__(self) -> EncodedImage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        height, width = self.size
        return f"<EncodedImage {width}x{height} of {self._renderer.plan.name}>"

    def _repr_html_(self) -> str:
        return html_thumbnail(self._image, repr(self).strip("<>"))

    @property
    def size(self) -> Size:
        """Height and width of the image in pixels."""
        return self._image.shape[0], self._image.shape[1]

    @property
    def cached_bytes(self) -> int:
        """Bytes of features that are kept now."""
        return self._tiles.held

    @property
    def tiles_computed(self) -> int:
        """How many tiles were encoded so far; a tile that was dropped and needed again counts
        twice."""
        return self._tiles.computed

    def close(self) -> None:
        """Forget the features; renders in progress end with `ClosedError`."""
        self._tiles.close()

    def render(
        self,
        *,
        scale: float | None = None,
        size: Size | None = None,
        region: Rectangle | None = None,
        dtype: DTypeLike = np.float32,
        cancel: threading.Event | Callable[[], bool] | None = None,
    ) -> NDArray[np.generic]:
        """Render the image, or a region of it.

        A region costs its own grid cells and the encoder tiles that they read. Where its pixels lie
        on those of the whole output, they are the same within 1e-5.

        Args:
            scale: factor of both sides, at least 1; or
            size: height and width of the output in pixels.
            region: left, top, width and height in pixels of the image, whole or not; None for all.
            dtype: float32 (0 to 1), uint8 or uint16, rounded.
            cancel: an event, or a function that returns True, to stop between two chunks.

        Returns: `[H, W, 3]`.

        Raises:
            SizeError: an invalid scale or size.
            CoordinateError: the region is empty or outside the image.
            OptionError: another dtype.
            CancelledError: it was cancelled.
            MemoryBudgetError, NonFiniteError, ClosedError: see `Upscaler.upscale`.
        """
        kind = np.dtype(dtype)
        if kind not in DTYPES:
            raise OptionError(f"dtype is {kind}; use float32, uint8 or uint16.")
        job = self._renderer.job_of(self.size, scale=scale, size=size, region=region)
        rendering = self._renderer.prepare(
            job, held_per_pixel=12 + kind.itemsize, tiles=self._tiles
        )
        made = rendering.array(self._image, clip=True, stop=_stop(cancel))
        return to_depth(made, kind)

    def prefetch(
        self,
        region: Rectangle | None = None,
        *,
        cancel: threading.Event | Callable[[], bool] | None = None,
    ) -> None:
        """Encode what renders of a region read, as far as the cache holds it.

        Raises:
            CoordinateError, CancelledError, MemoryBudgetError, ClosedError: see `render`.
        """
        job = self._renderer.job_of(self.size, scale=1.0, region=region)
        self._renderer.prepare(job, tiles=self._tiles)
        margin = self._renderer.plan.manifest.margin
        rows, cols = (
            Span(int(cells[0]), int(cells[-1]) + 1).grow(margin, margin)
            for cells in (axis.cells(Span(0, axis.out), "pixel") for axis in job.axes)
        )
        self._tiles.fetch(rows, cols, _stop(cancel))

    def query(
        self,
        coords: NDArray[np.float64],
        cell: NDArray[np.float64] | None = None,
        *,
        scale: float | None = None,
    ) -> NDArray[np.float32]:
        """The image's colors at any coordinates; see `Upscaler.query`."""
        queries = queries_of(coords, cell, self.size)
        job = Job(self.size, *output_of(queries, self.size, scale))
        return self._renderer.answer(self._image, job, queries, tiles=self._tiles)

    def attention(
        self, at: tuple[int, int], *, scale: float | None = None, size: Size | None = None
    ) -> list[NDArray[np.float32]]:
        """The attention weights of one pixel of the whole output; see `Upscaler.attention`."""
        job = self._renderer.job(self._image, scale=scale, size=size)
        return self._renderer.attention(self._image, job, at, self._tiles)

    def stages(self, *, scale: float | None = None, size: Size | None = None) -> int:
        """How many stages of the model's cascade a scale or a size runs."""
        job = self._renderer.job(self._image, scale=scale, size=size)
        return job.depth(self._renderer.plan.manifest)


def _stop(cancel: threading.Event | Callable[[], bool] | None) -> Callable[[], None] | None:
    if cancel is None:
        return None
    cancelled = cancel if callable(cancel) else cancel.is_set

    def stop() -> None:
        if cancelled():
            raise CancelledError("The render was cancelled.")

    return stop
