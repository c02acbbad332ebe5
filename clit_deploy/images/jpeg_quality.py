"""How strongly a JPEG file was compressed, from its quantization tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""Quantization steps for luminance that the standard suggests (ITU-T T.81, table K.1), and that
encoders scale by their quality."""


def jpeg_quality(tables: Mapping[int, Sequence[int]]) -> int | None:
    """The quality, 1 to 100, whose scaled standard tables come closest to a file's.

    The scale of the Independent JPEG Group is 50 / quality below 50 and 2 - quality / 50 above.
    Encoders with tables of their own get the quality of equal mean step.

    Args:
        tables: the file's quantization tables by number; the first is for luminance.

    Returns: None without a complete table for luminance.
    """
    steps = tables.get(0)
    if steps is None or len(steps) != 64:
        return None
    scale = sum(steps) / sum(map(sum, LUMINANCE))
    quality = 50 / scale if scale > 1 else 100 - 50 * scale
    return min(max(round(quality), 1), 100)
