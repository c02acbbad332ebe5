"""Images as they are met: a high-resolution crop -> the small image that somebody has of it.

Blur, reduction by one of several kernels, sensor-like noise and JPEG, in an order that changes,
their strength often near zero; three in ten are reduced and nothing else, so that a model that
learns from them does not soften clean images.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from clit_deploy.training.jpeg import MCU, jpeg

if TYPE_CHECKING:
    import numpy as np

CLEAN = 0.30
"""Share of crops that are reduced and nothing else."""
JPEG_ALONE = 0.38
"""Share of crops that are reduced and compressed: what most images on the web are."""
QUALITY = (30.0, 95.0)
LARGEST_NOISE = 15.0
"""Deviation in grey levels."""
WIDEST_BLUR = 4.0
"""Deviation in pixels of the high-resolution crop."""
_REACH = 10


@dataclass(frozen=True)
class Faults:
    """What happens to each crop of a batch; arrays are `[b]`."""

    clean: Tensor
    jpeg_alone: Tensor
    blur: Tensor
    """Deviations of a Gaussian along both axes, `[b, 2]`, in pixels of the low-resolution crop."""
    kernel: Tensor
    """0 for the plain bicubic reduction without blur, else bicubic, area, bilinear after it."""
    noise: Tensor
    """Deviation in grey levels."""
    shot: Tensor
    """How much of the noise grows with the light, 0 to 1."""
    gray: Tensor
    """Whether the noise is the same in all channels."""
    noise_first: Tensor
    """Whether noise comes before JPEG, or after it."""
    compressed: Tensor
    quality: Tensor
    subsampled: Tensor
    origin: tuple[int, int]
    seed: int
    """Of the noise itself."""

    @classmethod
    def draw(cls, count: int, rng: np.random.Generator) -> Faults:
        """Random faults for `count` crops."""

        def share(of: float) -> Tensor:
            return torch.from_numpy(rng.random(count) < of)

        def real(low: float, high: float, power: float = 1) -> Tensor:
            return torch.from_numpy(low + (high - low) * rng.random(count) ** power).float()

        kind = torch.from_numpy(rng.random(count))
        width = real(0, 0.45, power=1.5)
        blur = torch.stack([width * real(0.7, 1.3), width * real(0.7, 1.3)], dim=1)
        kernel = torch.from_numpy(rng.choice(4, count, p=(0.5, 0.25, 0.125, 0.125)))
        noise = real(0, LARGEST_NOISE, power=2) * share(0.7)
        top, left = (int(v) for v in rng.integers(MCU, size=2))
        return cls(
            clean=kind < CLEAN,
            jpeg_alone=(kind >= CLEAN) & (kind < CLEAN + JPEG_ALONE),
            blur=blur,
            kernel=kernel,
            noise=noise,
            shot=real(0, 1),
            gray=share(0.4),
            noise_first=share(0.75),
            compressed=share(0.8),
            quality=real(*QUALITY),
            subsampled=share(0.7),
            origin=(top, left),
            seed=int(rng.integers(2**62)),
        )

    def to(self, device: torch.device) -> Faults:
        """The same on a device."""
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=True)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return dataclasses.replace(self, **moved)


def reduced(image: Tensor, low: int) -> Tensor:
    """`[b, 3, h, h]`, 0 to 255, by the antialiased bicubic filter of Pillow, in 8 bits."""
    small = functional.interpolate(image, size=(low, low), mode="bicubic", antialias=True)
    return small.round().clamp(0, 255)


def degraded(image: Tensor, low: int, faults: Faults) -> Tensor:
    """High-resolution crops as small images with faults.

    Args:
        image: `[b, 3, h, h]`, 0 to 255, on any device.
        low: side of the small images.
        faults: what happens to each.

    Returns: `[b, 3, low, low]`, whole numbers 0 to 255.
    """
    faults = faults.to(image.device)
    generator = torch.Generator(image.device).manual_seed(faults.seed)
    plain = reduced(image, low)
    small = _where(faults.jpeg_alone, plain, _reduced_otherwise(image, plain, low, faults))
    noisy = ~faults.jpeg_alone
    small = _where(noisy & faults.noise_first, _with_noise(small, faults, generator), small)
    coded = jpeg(small, faults.quality, faults.subsampled, faults.origin)
    small = _where(faults.compressed | faults.jpeg_alone, coded, small)
    small = _where(noisy & ~faults.noise_first, _with_noise(small, faults, generator), small)
    return _where(faults.clean, plain, small).round().clamp(0, 255)


def _reduced_otherwise(image: Tensor, plain: Tensor, low: int, faults: Faults) -> Tensor:
    scale = image.shape[-1] / low
    soft = blurred(image, (faults.blur * scale).clamp(max=WIDEST_BLUR))
    size = (low, low)
    bicubic = functional.interpolate(soft, size=size, mode="bicubic", antialias=True)
    area = functional.interpolate(soft, size=size, mode="area")
    bilinear = functional.interpolate(soft, size=size, mode="bilinear", antialias=True)
    small = _where(faults.kernel == 1, bicubic, plain)
    small = _where(faults.kernel == 2, area, small)
    return _where(faults.kernel == 3, bilinear, small)


def blurred(image: Tensor, deviation: Tensor) -> Tensor:
    """`[b, c, h, w]` after a Gaussian of `deviation [b, 2]` pixels, mirrored at the edges."""
    b, c, height, width = image.shape
    reach = min(_REACH, height - 1, width - 1)
    at = torch.arange(-reach, reach + 1, dtype=image.dtype, device=image.device)
    for axis, pad in enumerate(((0, 0, reach, reach), (reach, reach, 0, 0))):
        kernel = torch.exp(-0.5 * (at / deviation[:, axis : axis + 1].clamp(min=0.05)) ** 2)
        kernel = kernel / kernel.sum(dim=1, keepdim=True)
        shape = (b * c, 1, -1, 1) if axis == 0 else (b * c, 1, 1, -1)
        kernel = kernel.repeat_interleave(c, dim=0).reshape(shape)
        rows = functional.pad(image.reshape(1, b * c, height, width), pad, mode="reflect")
        image = functional.conv2d(rows, kernel, groups=b * c).reshape(b, c, height, width)
    return image


def _with_noise(image: Tensor, faults: Faults, generator: torch.Generator) -> Tensor:
    """Gaussian noise, a part of which grows with the root of the light, as photons do."""
    wave = torch.randn(image.shape, generator=generator, device=image.device, dtype=image.dtype)
    wave = _where(faults.gray, wave[:, :1].expand_as(wave), wave)
    light = (image.clamp(0, 255) / 128).sqrt()
    shot = faults.shot.reshape(-1, 1, 1, 1)
    strength = faults.noise.reshape(-1, 1, 1, 1) * (1 - shot + shot * light)
    # 8 bits hold the noisy image, whatever comes next.
    return (image + wave * strength).round().clamp(0, 255)


def _where(mask: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(mask.reshape(-1, 1, 1, 1), yes, no)
