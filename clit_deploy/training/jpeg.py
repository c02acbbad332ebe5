"""JPEG as a camera or a web page writes it, on tensors: blocks, quantization, chroma.

The quantization tables and their scaling by a quality are those of Annex K of ITU-T T.81 and of
libjpeg; entropy coding loses nothing and is left out. What Pillow writes and reads differs by less
than a grey level on the mean (`tests/training/test_photo.py`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from clit_deploy.images.jpeg_quality import LUMINANCE

CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *(((99,) * 8,) * 4),
)
YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
"""Luminance and the two chrominances of JFIF, without their offsets."""
BLOCK = 8
MCU = 16
"""Side of what is coded together where chroma has half the resolution."""


def jpeg(image: Tensor, quality: Tensor, subsampled: Tensor, origin: tuple[int, int]) -> Tensor:
    """Images after JPEG.

    Args:
        image: `[b, 3, h, w]`, 0 to 255.
        quality: libjpeg's, 1 to 100, `[b]`.
        subsampled: whether chroma has half the resolution along both axes, bool `[b]`.
        origin: rows and columns of the first block (of 16x16 pixels) that are outside the image,
            0 to 15 each: where a image was cropped after it was coded.

    Returns: `[b, 3, h, w]`, whole numbers 0 to 255.
    """
    _, _, height, width = image.shape
    top, left = origin
    edges = (left, -(width + left) % MCU, top, -(height + top) % MCU)
    padded = functional.pad(image.round().clamp(0, 255), edges, mode="replicate")
    to_ycc = image.new_tensor(YCBCR)
    # Planes are whole numbers before and after, as in libjpeg.
    ycc = torch.einsum("dc,bchw->bdhw", to_ycc, padded).round()
    strength = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality) / 100
    luma = _quantized(ycc[:, :1] - 128, _table(LUMINANCE, strength))
    coarse = _table(CHROMINANCE, strength)
    full = _quantized(ycc[:, 1:], coarse)
    small = _quantized(functional.avg_pool2d(ycc[:, 1:], 2).round(), coarse)
    half = functional.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)
    chroma = torch.where(subsampled.reshape(-1, 1, 1, 1), half, full)
    rgb = torch.einsum(
        "cd,bdhw->bchw", torch.linalg.inv(to_ycc), torch.cat([luma + 128, chroma], 1)
    )
    return rgb[..., top : top + height, left : left + width].round().clamp(0, 255)


def _table(rows: tuple[tuple[int, ...], ...], strength: Tensor) -> Tensor:
    """A quantization table at each strength, `[b, 1, 1, 1, 8, 8]`."""
    base = strength.new_tensor(rows)
    scaled = torch.floor(base * strength.reshape(-1, 1, 1) + 0.5).clamp(1, 255)
    return scaled.reshape(-1, 1, 1, 1, BLOCK, BLOCK)


def _quantized(planes: Tensor, table: Tensor) -> Tensor:
    """Planes `[b, c, h, w]` around 0, sides multiples of 8, with rounded coefficients."""
    b, c, height, width = planes.shape
    blocks = planes.reshape(b, c, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    blocks = blocks.permute(0, 1, 2, 4, 3, 5)
    cosines = _cosines(planes)
    coefficients = torch.round((cosines @ blocks @ cosines.T) / table) * table
    blocks = cosines.T @ coefficients @ cosines
    return blocks.permute(0, 1, 2, 4, 3, 5).reshape(b, c, height, width).round().clamp(-128, 127)


def _cosines(like: Tensor) -> Tensor:
    """The orthonormal cosine transform of 8 values."""
    k = torch.arange(BLOCK, dtype=like.dtype, device=like.device)
    cosines = torch.cos((2 * k + 1) * k[:, None] * (math.pi / (2 * BLOCK))) / 2
    cosines[0] *= math.sqrt(0.5)
    return cosines
