"""How strongly a JPEG file was compressed, from its quantization tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_STANDARD_SUM = 3688
"""Sum of the 64 steps for luminance that the standard suggests (ITU-T T.81, table K.1), and that
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
    scale = sum(steps) / _STANDARD_SUM
    quality = 50 / scale if scale > 1 else 100 - 50 * scale
    return min(max(round(quality), 1), 100)
