"""PSNR, SSIM and luminance, each defined once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BT601_LUMA = np.array([65.738, 129.057, 25.064]) / 256
"""Luminance of BT.601 in studio range, as the field's Matlab code computes it."""

WINDOW = 11
"""Side of the window of SSIM."""
_K1, _K2, _SIGMA = 0.01, 0.03, 1.5
"""Constants of SSIM (Wang et al., IEEE TIP 2004, section III.C)."""


def mean_square(output: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """Mean square error; one of the two should be float64."""
    return float(np.mean((output - truth) ** 2))


def psnr(
    output: NDArray[np.floating],
    truth: NDArray[np.floating],
    *,
    least: float = 0.0,
    added: float = 0.0,
) -> float:
    """Peak signal-to-noise ratio in dB, of values 0 to 1.

    Args:
        output: the image to score, of any shape; one of the two arrays should be float64.
        truth: the reference, of the same shape.
        least: smallest mean square error; 1e-16 is 160 dB.
        added: mean square error to add, such as that of writing 8 bits.

    Returns: infinity if both are equal and neither `least` nor `added` is given; NaN if the output
        contains NaN.
    """
    noise = max(mean_square(output, truth) + added, least)
    return -10 * math.log10(noise) if noise != 0 else math.inf


def luminance_of(rgb: NDArray[np.floating]) -> NDArray[np.float64]:
    """Luminance Y of RGB `[..., 3]` in 0..1, float64 `[...]`."""
    return np.asarray(rgb.astype(np.float64) @ BT601_LUMA)


def ssim(output: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Mean structural similarity of images `[h, w, channels]` in 0..1, at most 1, with the usual
    Gaussian window of 11 pixels."""
    mean_a, mean_b = _blur(output), _blur(truth)
    var_a = _blur(output**2) - mean_a**2
    var_b = _blur(truth**2) - mean_b**2
    cov = _blur(output * truth) - mean_a * mean_b
    c1, c2 = _K1**2, _K2**2
    top = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
    return float(np.mean(top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))))


def _blur(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means in a Gaussian window, wherever it lies inside the image."""
    at = np.arange(WINDOW) - WINDOW // 2
    kernel = np.exp(-(at**2) / (2 * _SIGMA**2))
    kernel /= kernel.sum()
    for axis in (0, 1):
        parts = np.lib.stride_tricks.sliding_window_view(image, WINDOW, axis=axis)
        image = parts @ kernel
    return image
