"""High-resolution images to shrink and upscale again: photographs and drawings."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

import numpy as np

from clit_deploy.drawings.scenes import SCENES, draw

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import Size

FLAT = 2.5 / 255
"""Standard deviation below which an image is flat: it shows nothing."""

DRAWN = (512, 512)
"""Height and width of a drawing: as large as the part of a photograph that is used."""
SEEN, HELD_OUT = range(8), range(100, 104)
"""Seeds of the drawings of each kind, for calibration and for measurement."""


class Part(Enum):
    """Which part of an image to take: the one with the most detail, or with a median amount."""

    BUSIEST = auto()
    USUAL = auto()


class Original(Protocol):
    """An image that exists in high resolution."""

    @property
    def kind(self) -> str:
        """What it shows; losses are reported for each kind."""

    @property
    def size(self) -> Size:
        """Height and width that it has at most."""

    def part(self, size: Size, scale: float, which: Part) -> NDArray[np.uint8]:
        """A part of it, `[*size, 3]`, that is going to be shrunk by `scale`."""


@dataclass(frozen=True, eq=False)
class Photograph:
    """A photograph, uint8 `[h, w, 3]`."""

    pixels: NDArray[np.uint8]
    kind: str = "photographs"

    @property
    def size(self) -> Size:
        """Its height and width."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def part(self, size: Size, scale: float, which: Part) -> NDArray[np.uint8]:  # noqa: ARG002
        """The busiest or a usual part."""
        return part(self.pixels, size, which)


@dataclass(frozen=True)
class Drawing:
    """A scene that is drawn for each scale, so that the shrunk one has text of a usual size and
    lines of a pixel."""

    kind: str
    seed: int
    size: Size = DRAWN

    def part(self, size: Size, scale: float, which: Part) -> NDArray[np.uint8]:  # noqa: ARG002
        """The scene, drawn in this size; it has much detail everywhere."""
        return draw(self.kind, size, scale, self.seed)


def drawings(seeds: range) -> list[Drawing]:
    """Drawings of every kind, the kinds in turn."""
    return [Drawing(kind, seed) for seed in seeds for kind in SCENES]


def part(image: NDArray[np.uint8], size: Size, which: Part) -> NDArray[np.uint8]:
    """One of nine parts of an image, ranked by how much adjacent pixels differ.

    `USUAL` is never a flat part: there an error of a hundredth of a gray level would matter.
    """
    tops, lefts = (
        sorted({(p - s) * step // 2 for step in range(3)})
        for p, s in zip(image.shape[:2], size, strict=True)
    )
    parts = [
        image[top : top + size[0], left : left + size[1]]
        for top, left in itertools.product(tops, lefts)
    ]
    ranked = sorted(parts, key=_detail)
    if which is Part.USUAL:
        ranked = [pixels for pixels in ranked if not is_flat(pixels)] or ranked[-1:]
        return ranked[len(ranked) // 2]
    return ranked[-1]


def is_flat(pixels: NDArray[np.uint8]) -> bool:
    """Whether an image shows nothing."""
    return float(pixels.std()) < 255 * FLAT


def _detail(pixels: NDArray[np.uint8]) -> float:
    values = pixels.astype(np.float32)
    return float(sum(np.abs(np.diff(values, axis=axis)).sum() for axis in (0, 1)))
