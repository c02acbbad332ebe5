"""What the viewer answers, whatever asks: tiles, attention, and what there is to see."""

from __future__ import annotations

import hashlib
import secrets
import shlex
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from clit_deploy.errors import CoordinateError
from clit_deploy.viewer import drawing
from clit_deploy.viewer.attention_windows import attention_windows, lack_of_attention
from clit_deploy.viewer.byte_cache import ByteCache
from clit_deploy.viewer.pyramid import ENLARGED, OVERLAP, TILE
from clit_deploy.viewer.render_queue import RenderQueue
from clit_deploy.viewer.uploads import Uploads

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from concurrent.futures import Future

    from clit_deploy.viewer.gallery import Gallery
    from clit_deploy.viewer.pyramid import Tile
    from clit_deploy.viewer.render_queue import Ticket, View
    from clit_deploy.viewer.saved_window import SavedWindow
    from clit_deploy.viewer.viewer_settings import ViewerSettings

PLAIN, BICUBIC = "plain", "bicubic"
"""Layers beside those of the plans, which are numbers."""
DRAWERS = 2
"""Threads for tiles that need no network."""


@dataclass(frozen=True)
class TileKey:
    """Names a tile: of an image, as a layer shows it."""

    image: int
    layer: str
    level: int
    col: int
    row: int


class Pending(NamedTuple):
    """An answer that is being made."""

    future: Future[Any]
    drop: Callable[[], object]
    """Stop to make it, unless somebody else waits for it."""

    @classmethod
    def of(cls, ticket: Ticket) -> Pending:
        """The answer that a ticket waits for."""
        return cls(ticket.future, ticket.drop)


class Service:
    """A gallery, the queue of its plans, and the tiles that are finished.

    Args:
        gallery: the images and the plans.
        names: of the plans, as a command line names them.
        settings: the limits.
    """

    def __init__(self, gallery: Gallery, names: list[str], settings: ViewerSettings) -> None:
        self.gallery, self.names, self.settings = gallery, names, settings
        self.queue = RenderQueue()
        self.uploads = Uploads(gallery, settings)
        self._tiles: ByteCache[TileKey] = ByteCache(settings.tile_bytes)
        self._drawers = ThreadPoolExecutor(DRAWERS, thread_name_prefix="clit-tiles")
        self._run = secrets.token_bytes(16)

    def close(self) -> None:
        """Cancel all work, and forget all images."""
        self.queue.close()
        self._drawers.shutdown(wait=False, cancel_futures=True)
        self.uploads.close()
        self.gallery.close()

    @property
    def tile_bytes(self) -> int:
        """Bytes of finished tiles that are kept now."""
        return self._tiles.held

    def state(self) -> dict[str, Any]:
        """Images, plans and limits, for the page."""
        return {
            "images": [
                {
                    "id": number,
                    "name": image.name,
                    "argument": image.argument,
                    "alpha": image.alpha,
                    "height": image.pyramid.image[0],
                    "width": image.pyramid.image[1],
                    "scales": [float(scale) for scale in image.pyramid.scales],
                    "own": image.pyramid.own,
                }
                for number, image in self.gallery.images.items()
            ],
            "plans": [
                {
                    "name": PurePath(name).stem,
                    "argument": shlex.quote(name),
                    "no_attention": lack_of_attention(up.plan),
                }
                for name, up in zip(self.names, self.gallery.plans, strict=True)
            ],
            "tile": TILE,
            "overlap": OVERLAP,
            "largest": ENLARGED[-1],
            "upload": self.settings.upload_bytes if self.settings.allow_upload else 0,
        }

    def tag(self, key: TileKey) -> str:
        """The ETag of a tile: an image never changes while its viewer runs."""
        text = self._run + repr(key).encode()
        return f'"{hashlib.blake2b(text, digest_size=12).hexdigest()}"'

    def finished(self, key: TileKey) -> bytes | None:
        """A tile that is finished, as a PNG file.

        Raises:
            CoordinateError: there is no such tile.
        """
        self._tile(key)
        return self._tiles.get(key)

    def draw(self, key: TileKey, view: View | None) -> Pending:
        """Start to draw a tile: at once, or in the queue if a network enlarges it.

        Raises:
            CoordinateError: there is no such tile.
            BusyError, CancelledError, ClosedError: see `RenderQueue.submit`.
        """
        tile = self._tile(key)
        if key.layer in (PLAIN, BICUBIC):
            future = self._drawers.submit(self._drawn, key, tile)
            return Pending(future, future.cancel)

        def render(cancel: threading.Event) -> bytes:
            image = self.gallery.open(key.image)
            return self._kept(key, drawing.enlarged(image, int(key.layer), tile, cancel))

        return Pending.of(self.queue.submit(key, render, view=view))

    def attention(self, image: int, plan: int, at: tuple[float, float], scale: float) -> Pending:
        """Start to compute the attention of a pixel; see `attention_windows`.

        Raises:
            CoordinateError: there is no such image, plan or pixel.
            BusyError, CancelledError, ClosedError: see `RenderQueue.submit`.
        """
        self.gallery.known(image)
        self._check_plan(plan)

        def compute(_: threading.Event) -> dict[str, Any]:
            features = self.gallery.open(image).features(plan)
            return attention_windows(features, self.gallery.plans[plan].renderer, at, scale)

        key = "attention", image, plan, at, scale
        return Pending.of(self.queue.submit(key, compute, urgent=True))

    def save(self, image: int, plan: int, window: SavedWindow) -> Pending:
        """Start to make a file of a part of an image.

        Raises:
            CoordinateError: there is no such image or plan.
            BusyError, CancelledError, ClosedError: see `RenderQueue.submit`.
        """
        shown = self.gallery.known(image)
        self._check_plan(plan)

        def make(cancel: threading.Event) -> bytes:
            shown.check()
            return window.content(self.gallery.plans[plan], shown.path, cancel)

        return Pending.of(self.queue.submit(("save", image, plan, window), make))

    def _check_plan(self, plan: int) -> None:
        if not 0 <= plan < len(self.names):
            raise CoordinateError(f"There is no plan {plan}.")

    def _tile(self, key: TileKey) -> Tile:
        pyramid = self.gallery.known(key.image).pyramid
        tile = pyramid.tile(key.level, key.col, key.row)
        enlarges = key.layer == BICUBIC or self._is_plan(key.layer)
        if (enlarges or key.layer == PLAIN) and enlarges == (key.level > pyramid.own):
            return tile
        raise CoordinateError(f"Level {key.level} has no layer {key.layer!r:.40}.")

    def _is_plan(self, layer: str) -> bool:
        return layer in {str(number) for number in range(len(self.names))}

    def _drawn(self, key: TileKey, tile: Tile) -> bytes:
        draw = drawing.plain if key.layer == PLAIN else drawing.bicubic
        return self._kept(key, draw(self.gallery.open(key.image), tile))

    def _kept(self, key: TileKey, pixels: Any) -> bytes:
        content = drawing.png(pixels)
        self._tiles.put(key, content)
        return content
