"""Reads small files of /proc and /sys, without root."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def text(path: Path) -> str:
    """The content of a small file, without white space and zeros at its ends.

    Raises:
        OSError: it cannot be read.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        return os.read(handle, 1 << 16).decode(errors="replace").strip("\0 \t\n")
    finally:
        os.close(handle)


def text_or(path: Path, default: str = "") -> str:
    """The content of a small file; `default` if it cannot be read."""
    try:
        return text(path)
    except OSError:
        return default


def number(path: Path, unit: float = 1.0) -> float:
    """The number in a file, in units of `unit`.

    Raises:
        OSError, ValueError: it cannot be read, or is not a number.
    """
    return float(text(path)) * unit


def kilobytes(path: Path, field: str) -> int | None:
    """Bytes in a line like `MemTotal:  16 kB` of a file; None without such a line."""
    line = re.search(rf"^{field}:\s+(\d{{1,15}}) kB", text_or(path), re.MULTILINE)
    return int(line[1]) * 1024 if line else None
