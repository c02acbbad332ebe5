"""What a value in a manifest may be, written beside its type: `Annotated[int, Range(1, 16)]`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True)
class Range:
    """Numbers from `least` to `most`."""

    least: float
    most: float

    def holds(self, value: Any) -> bool:
        """Whether a number is in the range; NaN is not."""
        return bool(self.least <= value <= self.most)

    def __str__(self) -> str:
        return f"a number from {self.least} to {self.most}"


@dataclass(frozen=True)
class Length:
    """Lists with `least` to `most` items."""

    least: int
    most: int

    def holds(self, value: Any) -> bool:
        """Whether a list has such a length."""
        return self.least <= len(value) <= self.most

    def __str__(self) -> str:
        return f"{self.least} to {self.most} values"


@dataclass(frozen=True)
class Pattern:
    """Text that matches a regular expression."""

    pattern: str
    title: str

    def holds(self, value: Any) -> bool:
        """Whether all of a text matches."""
        return re.fullmatch(self.pattern, value) is not None

    def __str__(self) -> str:
        return self.title


Channels = Annotated[int, Range(1, 2**16)]
Pixels = Annotated[int, Range(0, 2**12)]
Reach = Annotated[int, Range(0, 2**6)]
Side = Annotated[int, Range(0, 2**20)]
Count = Annotated[int, Range(1, 2**24)]
Bytes = Annotated[int, Range(0, 2**40)]
Fraction = Annotated[float, Range(0, 1)]
Scale = Annotated[float, Range(0.01, 10_000)]
Difference = Annotated[float, Range(0, 1e9)]
Decibels = Annotated[float, Range(-1000, 1000)]
Word = Annotated[str, Pattern(r"[\w.+-]{1,100}", "a word")]
Graph = Annotated[str, Pattern(r"[\w.-]{1,200}\.onnx", "the name of a graph (.onnx)")]
ArrayFile = Annotated[str, Pattern(r"[\w.-]{1,200}\.npz", "the name of an array file (.npz)")]
Member = Annotated[str, Pattern(r"[\w./+-]{1,400}", "the name of a member")]
Sha256 = Annotated[str, Pattern(r"[0-9a-f]{64}", "a SHA-256 digest")]
Shape = Annotated[list[Annotated[int, Range(0, 2**31 - 1)]], Length(0, 8)]
