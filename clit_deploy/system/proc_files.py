"""Small files of /proc and /sys: the one place that reads them, never writing and without root."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def text(path: Path) -> str:
    """What a small file holds, without the white space and zeros around it.

    Raises:
        OSError: it cannot be read.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        return os.read(handle, 1 << 16).decode(errors="replace").strip("\0 \t\n")
    finally:
        os.close(handle)


def text_or(path: Path, default: str = "") -> str:
    """What a small file holds, or `default` where it cannot be read."""
    try:
        return text(path)
    except OSError:
        return default


def number(path: Path, unit: float = 1.0) -> float:
    """The number in a file, in units of `unit`.

    Raises:
        OSError, ValueError: it cannot be read, or holds no number.
    """
    return float(text(path)) * unit


def kilobytes(path: Path, field: str) -> int | None:
    """A line like `MemTotal:  16 kB` of a file, in bytes; None where there is no such line."""
    line = re.search(rf"^{field}:\s+(\d{{1,15}}) kB", text_or(path), re.MULTILINE)
    return int(line[1]) * 1024 if line else None
