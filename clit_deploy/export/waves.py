"""Sines without a Sin operator: angles in turns, exact range reduction, a polynomial.

Sines of large arguments are inaccurate in some runtimes, above all in half precision. A whole
number of turns can be subtracted from a float32 without a rounding error, so a frequency of 1023 is
as accurate as one of 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clit_deploy.export.graph_builder import Builder, Tensor


def fraction(b: Builder, turns: Tensor) -> Tensor:
    """Angles in turns, reduced to -1/2..1/2. WebGPU has Floor, but no Round."""
    return b("Sub", turns, b("Floor", b("Add", turns, 0.5)))


def sine(b: Builder, turns: Tensor) -> Tensor:
    """sin(2 pi t) for any t: an odd polynomial of the fraction, accurate to float32."""
    t = fraction(b, turns)
    square = b("Mul", t, t)
    first, *rest = (np.float32(value) for value in sine_coefficients()[::-1])
    result = b("Add", b("Mul", square, first), rest[0])
    for coefficient in rest[1:]:
        result = b("Add", b("Mul", square, result), coefficient)
    return b("Mul", t, result)


def cosine(b: Builder, turns: Tensor) -> Tensor:
    """cos(2 pi t) for any t: the sine of a quarter turn more."""
    return sine(b, b("Add", turns, 0.25))


def sine_coefficients(terms: int = 8) -> NDArray[np.float64]:
    """Coefficients of sin(2 pi t) / t in powers of t^2, fitted on Chebyshev nodes."""
    t = np.cos(np.pi * (np.arange(64) + 0.5) / 128) / 2
    powers = (t**2)[:, None] ** np.arange(terms)
    fit = np.linalg.lstsq(powers * t[:, None], np.sin(2 * np.pi * t), rcond=None)
    return fit[0].astype(np.float64)
