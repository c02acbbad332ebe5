"""Features of an image of which several results are made: computed once, for all of them."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import Counter
from typing import TYPE_CHECKING

from clit_deploy.config import show_bytes
from clit_deploy.render.renderer import FEW_TILES
from clit_deploy.system import memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from clit_deploy.images.decoded_image import ImageHeader
    from clit_deploy.render.feature_tiles import FeatureTiles
    from clit_deploy.upscaler import Upscaler

log = logging.getLogger(__name__)

PART = 3
"""Features may take one part in so many of the memory that is left."""


class SharedFeatures:
    """Keeps the features of an image from its first result to its last.

    Args:
        sources: the image of every result that is going to be made.
    """

    def __init__(self, sources: Iterable[Path]) -> None:
        self._left = Counter(sources)
        self._kept: dict[Path, FeatureTiles] = {}
        self._changing = threading.Lock()

    @contextlib.contextmanager
    def of(self, source: Path, header: ImageHeader, up: Upscaler) -> Iterator[FeatureTiles | None]:
        """The features for one result; None if they are not shared.

        That is so for the last result of an image whose features were not kept, for images that
        are not held as a whole, for those with transparency, which are two images for the encoder,
        and where the features of the whole image would take too much memory.
        """
        with self._changing:
            if source not in self._kept and self._left[source] > 1:
                self._start(source, header, up)
            found = self._kept.get(source)
        try:
            yield found
        finally:
            with self._changing:
                self._left[source] -= 1
                if self._left[source] <= 0 and source in self._kept:
                    self._kept.pop(source).close()

    def _start(self, source: Path, header: ImageHeader, up: Upscaler) -> None:
        if header.alpha or header.rolls:
            return
        height, width = header.size
        whole = height * width * up.plan.manifest.encoder.channels * 4
        limit = memory.limit(up.max_memory)
        if limit is not None and whole * PART > limit - memory.resident():
            log.info("%s: features take %s and are not kept", source.name, show_bytes(whole))
            return
        self._kept[source] = up.renderer.tiles(header.size, FEW_TILES * whole)


NOT_SHARED = SharedFeatures([])
"""Keeps nothing."""
