"""Whether a WebP file is lossless, which libvips does not report."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_MOST = 1000
"""Chunks that are looked at; the pixels come after a profile and a header at most."""


def is_lossless(path: Path) -> bool:
    """Whether the first image of a WebP file is coded without loss (RFC 9649, section 2)."""
    with path.open("rb") as file:
        file.seek(12)  # RIFF, its length, WEBP
        for _ in range(_MOST):
            head = file.read(8)
            if len(head) < 8:
                return False
            kind, length = struct.unpack("<4sI", head)
            if kind in (b"VP8 ", b"VP8L"):
                return bool(kind == b"VP8L")
            if kind == b"ANMF":  # a frame: its place and duration, then chunks
                file.seek(16, 1)
            else:
                file.seek(length + length % 2, 1)
    return False
