"""Why libvips cannot read a file, in this package's errors."""

from __future__ import annotations

import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING

from clit_deploy.errors import ClitDeployError, ImageError, MemoryBudgetError
from clit_deploy.images import tiff_tags
from clit_deploy.images.vips_library import vips

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CODECS: dict[int, object] = {
    34712: "JPEG 2000",
    34892: "lossy DNG",
    50001: "WebP",
    50002: "JPEG XL",
}
"""Compressions of TIFF that not every libvips has."""


@contextmanager
def readable(path: Path, tags: tiff_tags.TiffTags | None) -> Iterator[None]:
    """Turn whatever libvips raises into this package's errors."""
    try:
        yield
    except ClitDeployError:
        raise
    except MemoryError as error:
        raise MemoryBudgetError(
            f"There is not enough memory to read {path}; free some, or use a smaller image."
        ) from error
    except (vips().Error, struct.error, ValueError) as error:
        text = " ".join(str(getattr(error, "detail", "") or error).split())
        if "memory" in text:
            raise MemoryBudgetError(
                f"There is not enough memory to read {path}; free some, or use a smaller image."
            ) from error
        raise ImageError(_reason(path, text, tags)) from error


def _reason(path: Path, text: str, tags: tiff_tags.TiffTags | None) -> str:
    """Why a file cannot be read: what it has that cannot be read, or damage."""
    if "data precision" in text:
        bits = text.rsplit(maxsplit=1)[-1]
        return f"{path} is a JPEG of {bits} bits a channel, which cannot be read; save it with 8."
    if tags is not None:
        codec = tags.number(tiff_tags.COMPRESSION, 1)
        if "ompression scheme" in text or "not configured" in text:
            return (
                f"{path} is a TIFF with the compression {_CODECS.get(codec, codec)}, which cannot "
                "be read; save it with Deflate or LZW."
            )
        if "out of range" in text or "unsupported" in text.lower():
            depth, kind = tags.number(tiff_tags.BITS, 1), tags.number(tiff_tags.SAMPLE_FORMAT, 1)
            name = {2: "signed integers", 3: "floats"}.get(kind, "integers")
            return (
                f"{path} is a TIFF of {depth}-bit {name}, which cannot be read; save it with "
                "16 bits or 32-bit floats."
            )
    reason = "".join(c if c.isprintable() else " " for c in text)
    return f"{path} is damaged or cut off: {reason:.200}."
