"""A decoded image of the viewer: its pixels, smaller copies of it, and its features."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.images.pixels import to_bytes
from clit_deploy.images.transparency import is_opaque
from clit_deploy.viewer.reduced import halved

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from clit_deploy.encoded_image import EncodedImage
    from clit_deploy.images.decoded_image import DecodedImage
    from clit_deploy.upscaler import Upscaler


class OpenImage:
    """An image while it is shown; several threads may use it at once.

    Args:
        image: its pixels.
        plans: what enlarges it.
        cache: bytes of features that are kept for each plan.
    """

    def __init__(self, image: DecodedImage, plans: Sequence[Upscaler], cache: int) -> None:
        self._image, self._plans, self._cache = image, plans, cache
        alpha = image.alpha
        self.alpha = None if alpha is None or is_opaque(alpha) else alpha
        """Transparency `[h, w, 1]`; None if nothing is transparent."""
        shown = to_bytes(image.rgb)
        if self.alpha is not None:
            shown = np.concatenate([shown, to_bytes(self.alpha)], axis=2)
        self._levels: list[NDArray[np.uint8]] = [shown]
        self._features: dict[tuple[int, bool], EncodedImage] = {}
        self._changing = threading.Lock()

    @property
    def shown(self) -> NDArray[np.uint8]:
        """The image in 8 bits: `[h, w, 3]`, or `[h, w, 4]` with transparency."""
        return self._levels[0]

    def reduced(self, halvings: int) -> NDArray[np.uint8]:
        """The image after this many halvings of its sides."""
        with self._changing:
            while len(self._levels) <= halvings:
                self._levels.append(halved(self._levels[-1]))
            return self._levels[halvings]

    def features(self, plan: int) -> EncodedImage:
        """The image's colors on a plan."""
        return self._encoded(plan, of_alpha=False)

    def alpha_features(self, plan: int) -> EncodedImage:
        """Its transparency as a gray image on a plan."""
        return self._encoded(plan, of_alpha=True)

    def close(self) -> None:
        """Forget the features."""
        with self._changing:
            for encoded in self._features.values():
                encoded.close()
            self._features.clear()

    def _encoded(self, plan: int, *, of_alpha: bool) -> EncodedImage:
        pixels = self._image.rgb
        if of_alpha and self.alpha is not None:
            pixels = np.broadcast_to(self.alpha, (*self.alpha.shape[:2], 3))
        with self._changing:
            key = plan, of_alpha
            if key not in self._features:
                self._features[key] = self._plans[plan].encode(pixels, cache=self._cache)
            return self._features[key]
