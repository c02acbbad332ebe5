"""Enums for options, and parsing of memory sizes."""

from __future__ import annotations

import re
from enum import Enum
from typing import TypeVar

from clit_deploy.errors import OptionError, quote

Kind = TypeVar("Kind", bound=Enum)

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


class Precision(str, Enum):
    """The type of the numbers in the graphs."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"
    """Q/DQ in FP32 graphs, in the format that is fast on a CPU (U8S8)."""
    INT8_FP16 = "int8-fp16"
    """Q/DQ in FP16 graphs, in the format that TensorRT needs (S8S8)."""


class RuntimeName(str, Enum):
    """Runtimes to choose from; `auto` uses the best one that is available."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"
    TENSORRT_RTX = "tensorrt-rtx"
    WEBGPU = "webgpu"


def member(kind: type[Kind], name: str, what: str) -> Kind:
    """The member of an enum with this value; a member is returned as it is.

    Raises:
        OptionError: no member has this value; `what` names the option in the message.
    """
    try:
        return kind(name)
    except ValueError:
        known = ", ".join(str(one.value) for one in kind)
        raise OptionError(f"Unknown {what} {quote(name)}; use one of {known}.") from None


def parse_bytes(size: str | int) -> int:
    """`2GB`, `1.5GiB`, `800MB` or a number of bytes -> bytes.

    Raises:
        OptionError: not a size, less than a byte or more than an exabyte.
    """
    value: float = 0
    if isinstance(size, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]i?)?b?\s*", size.lower())
        value = float(match[1]) * _UNITS[match[2] or ""] if match else 0
    elif isinstance(size, (int, float)) and not isinstance(size, bool):
        value = size
    if not 1 <= value <= 10**18:
        raise OptionError(f"{quote(size)} is not a valid memory size; write it like 2GB or 800MB.")
    return int(value)


def show_bytes(count: float) -> str:
    """Bytes as text: `1.24 GB`, `310 MB`."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
