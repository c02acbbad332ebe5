"""Decibels on the photographs that a run does not learn from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from clit_deploy.grid.cascade import factors
from clit_deploy.grid.geometry import Span
from clit_deploy.quality.metrics import luminance_of, psnr
from clit_deploy.training.answer import answer
from clit_deploy.training.jpeg import jpeg
from clit_deploy.training.patch import Patch
from clit_deploy.training.photo import reduced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from clit_deploy.models.implicit_model import ImplicitModel

SCALES = (2.0, 3.0, 4.0, 12.0)
JPEG_SCALES = (2.0, 4.0)
JPEG_QUALITY = 40
PICTURES = 16
"""Images that are measured, spread over those that are held out."""
LOW = 64
"""Side of the low-resolution crops, as far as the images have room for it."""
PATCH = 128
"""Side of what is compared, in output pixels, in the middle of a crop."""
AT_ONCE = 2


@dataclass(frozen=True)
class Case:
    """Images at one scale."""

    name: str
    patch: Patch
    image: Tensor
    """`[b, 3, low, low]`, -1 to 1."""
    truth: NDArray[np.float64]
    """Luminance of what should come out, `[b, rows, cols]`, 0 to 1."""


class Validation:
    """The same crops of the same images, in every call.

    Args:
        photos: images `[3, h, w]`, uint8.
        device: where the model is.
        stages: stages that the model has.
        with_jpeg: whether compressed input is measured too.
    """

    def __init__(
        self,
        photos: list[NDArray[np.uint8]],
        device: torch.device,
        stages: int,
        *,
        with_jpeg: bool = False,
    ) -> None:
        step = max(len(photos) / PICTURES, 1)
        chosen = [photos[int(k * step)] for k in range(min(PICTURES, len(photos)))]
        room = min(min(photo.shape[1:]) for photo in chosen)
        self._cases = [
            case
            for scale in SCALES
            for case in _cases(chosen, room, scale, stages, device, with_jpeg)
        ]

    @torch.no_grad()
    def decibels(self, model: ImplicitModel, *, bfloat16: bool = False) -> dict[str, float]:
        """Mean PSNR of luminance, by case: `x2`, `x3`, ..., and `x2 jpeg40` with compressed input.

        The protocol is that of `evaluate`, but for the crop.
        """
        found = {}
        for case in self._cases:
            scores: list[float] = []
            for first in range(0, len(case.image), AT_ONCE):
                part = slice(first, first + AT_ONCE)
                with torch.autocast(case.image.device.type, torch.bfloat16, enabled=bfloat16):
                    rgb = answer(model, case.image[part], case.patch)
                pixels = ((rgb + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
                scores += [
                    psnr(luminance_of(a), b) for a, b in zip(pixels, case.truth[part], strict=True)
                ]
            found[case.name] = float(np.mean(scores))
        return found


def _cases(
    photos: list[NDArray[np.uint8]],
    room: int,
    scale: float,
    stages: int,
    device: torch.device,
    with_jpeg: bool,
) -> Iterator[Case]:
    low = min(LOW, int(room / scale))
    border = math.ceil(scale)
    size = round(low * scale)
    side = min(PATCH, size - 2 * border)
    if side < 1:  # images too small for this scale
        return
    large = torch.from_numpy(np.stack([_middle(photo, size) for photo in photos]))
    start = (size - side) // 2
    span = Span(start, start + side)
    part = slice(span.start, span.stop)
    truth = luminance_of(large[:, :, part, part].permute(0, 2, 3, 1).numpy() / 255)
    small = reduced(large.float(), low)
    patch = Patch(low, size, tuple(factors(scale, stages)), span, span)
    yield Case(f"x{scale:g}", patch, (small / 127.5 - 1).to(device), truth)
    if with_jpeg and scale in JPEG_SCALES:
        quality = torch.full((len(small),), float(JPEG_QUALITY))
        coded = jpeg(small, quality, torch.ones(len(small), dtype=torch.bool), (0, 0))
        name = f"x{scale:g} jpeg{JPEG_QUALITY}"
        yield Case(name, patch, (coded / 127.5 - 1).to(device), truth)


def _middle(photo: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    top, left = ((length - side) // 2 for length in photo.shape[1:])
    return photo[:, top : top + side, left : left + side]
