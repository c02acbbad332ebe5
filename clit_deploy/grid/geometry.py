"""Where output pixels fall on a feature grid: exact integer arithmetic, one axis at a time.

Output pixel `i` of `out` has its centre at `u = (2i + 1) * grid / (2 * out)` in grid pixels, where
grid pixel `p` spans `[p, p + 1]`; outputs over a region of the grid have another start and pitch.
Everything is computed on numerators and denominators as integers; only offsets, which lie in a few
units around zero, become float64.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Anchor = Literal["pixel", "corner"]
"""What the queries of one cell share: their nearest grid pixel, or the pair of pixels they lie
between (cell `p` is the gap from the centre of pixel `p` to that of pixel `p + 1`)."""


@dataclass(frozen=True)
class Span:
    """A half-open range of rows or columns, `start <= i < stop`."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def grow(self, before: int, after: int) -> Span:
        """The span with `before` more at its start and `after` more at its end."""
        return Span(self.start - before, self.stop + after)

    def clip(self, length: int) -> Span:
        """The part of the span that lies in `0 <= i < length`."""
        return Span(max(self.start, 0), min(self.stop, length))

    def within(self, other: Span) -> Span:
        """The part of the span that lies in another one; empty if they do not touch."""
        start = max(self.start, other.start)
        return Span(start, max(min(self.stop, other.stop), start))

    def split(self, size: int) -> list[Span]:
        """Consecutive spans of nearly equal length, none longer than `size`; none of nothing."""
        count = -(-len(self) // size)
        cuts = [self.start + len(self) * k // max(count, 1) for k in range(count + 1)]
        return [Span(a, b) for a, b in itertools.pairwise(cuts)]


@dataclass(frozen=True)
class Region:
    """A part of an axis in its pixels, exact: from `start` over `length`."""

    start: Fraction
    length: Fraction

    def on(self, rise: Axis) -> Region:
        """The same part in pixels of a grid that is laid over this axis."""
        up = Fraction(rise.out, rise.grid)
        return Region(self.start * up, self.length * up)


@dataclass(frozen=True)
class Axis:
    """`out` output pixels laid evenly over `grid` feature pixels, or over a region of them.

    An encoder that pads its image gives `padding` more feature pixels past the last output.
    """

    grid: int
    out: int
    padding: int = 0
    region: Region | None = None
    """The part of the grid that the outputs cover; None for all of `grid`."""

    @property
    def padded_grid(self) -> int:
        """Feature pixels that exist."""
        return self.grid + self.padding

    @property
    def padded_out(self) -> int:
        """Output pixels that there would be over all feature pixels that exist."""
        return round(self.padded_grid * self.out / self.grid)

    @property
    def step(self) -> float:
        """Size of an output pixel in half grid pixels: the papers' relative cell."""
        _, pitch, den = self._ratio
        return 2 * pitch / den

    def outputs(self, pixels: Span) -> Span:
        """The output pixels whose centre lies on the grid pixels `pixels`: a partition of all."""
        start, pitch, den = self._ratio

        def first(pixel: int) -> int:
            output = -((pitch + start - 2 * den * pixel) // (2 * pitch))
            return min(max(output, 0), self.out)

        return Span(first(pixels.start), first(pixels.stop))

    def extent(self, outputs: Span) -> tuple[float, float]:
        """Where output pixels start and end, in grid pixels."""
        start, pitch, den = self._ratio
        low, high = ((start + 2 * i * pitch) / (2 * den) for i in (outputs.start, outputs.stop))
        return low, high

    def cells(self, outputs: Span, anchor: Anchor) -> NDArray[np.int64]:
        """The cell of each output pixel, int64 `[len(outputs)]`, never decreasing.

        For `pixel` a centre half-way between two grid pixels goes to the even one, as `nearest`
        does in the published code; values lie in `[0, grid)`. For `corner` in `[-1, grid)`.
        """
        numerator, denominator = self._position(outputs)
        if anchor == "corner":
            return ((numerator - denominator // 2) // denominator).astype(np.int64)
        cell = (numerator // denominator).astype(np.int64)
        tied = (numerator % denominator == 0).astype(bool)
        return np.where(tied, cell - (cell & 1), cell)

    def offset(self, outputs: NDArray[np.int64], pixel: NDArray[np.int64]) -> NDArray[np.float64]:
        """Distance of output centres from grid pixels, in half grid pixels (float64).

        Inside a pixel the offset is in [-1, 1]: the relative coordinate of the papers.
        """
        numerator, denominator = self._position(outputs)
        distance = (2 * (numerator - pixel * denominator) - denominator) / denominator
        return distance.astype(np.float64)

    def bilinear(self, outputs: Span) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Lower grid pixel of each output (it may be -1) and the weight of its upper neighbor."""
        numerator, denominator = self._position(outputs)
        beyond = numerator - denominator // 2
        lower = beyond // denominator
        weight = (beyond - lower * denominator) / denominator
        return lower.astype(np.int64), weight.astype(np.float64)

    @property
    def _ratio(self) -> tuple[int, int, int]:
        """Integers `start, pitch, den`: the centre of output `i` is at
        `(start + (2 i + 1) pitch) / (2 den)` in grid pixels."""
        if self.region is None:
            return 0, self.grid, self.out
        pitch = self.region.length / self.out
        den = math.lcm(2 * self.region.start.denominator, pitch.denominator)
        return int(2 * den * self.region.start), int(den * pitch), den

    def _position(self, outputs: Span | NDArray[np.int64]) -> tuple[NDArray[Any], int]:
        """Numerators and denominator; Python's integers where 64 bits do not hold them."""
        start, pitch, den = self._ratio
        if isinstance(outputs, Span):
            outputs = np.arange(outputs.start, outputs.stop, dtype=np.int64)
        farthest = abs(start) + 2 * (self.out + 1) * pitch + 2 * den * (self.padded_grid + 1)
        index = outputs if farthest < LARGEST_INT else outputs.astype(object)
        return start + (2 * index + 1) * pitch, 2 * den


LARGEST_INT = 1 << 60


class AxisQueries(Protocol):
    """Queries along one axis, each in a grid cell: all that tables need to know."""

    @property
    def padded_grid(self) -> int:
        """Grid pixels that exist."""
        ...

    @property
    def step(self) -> float | NDArray[np.float64]:
        """Size of a queried pixel in half grid pixels."""
        ...

    def pixels(self) -> NDArray[np.int64]:
        """The cell of every query."""
        ...

    def offset(self, pixel: NDArray[np.int64]) -> NDArray[np.float64]:
        """Distance from grid pixels (one axis more than `pixels`), in half grid pixels."""
        ...


@dataclass(frozen=True)
class PointQueries:
    """Single queries along one axis, anywhere: `at [q]` counts grid pixels from the grid's edge.

    A position within `NOISE` of a border between pixels counts as lying on it, so that floats of
    a regular grid find the same pixel as exact arithmetic.
    """

    at: NDArray[np.float64]
    padded_grid: int
    step: float | NDArray[np.float64]
    anchor: Anchor

    def pixels(self) -> NDArray[np.int64]:
        """The cell of every query, int64 `[q]`."""
        if self.anchor == "corner":
            return np.floor(_snapped(self.at - 0.5)).astype(np.int64)
        nearest = np.rint(_snapped(self.at) - 0.5).astype(np.int64)  # a tie goes to the even one
        return np.clip(nearest, 0, self.padded_grid - 1)

    def offset(self, pixel: NDArray[np.int64]) -> NDArray[np.float64]:
        """Distance from `pixel [q, m]`, in half grid pixels."""
        distance: NDArray[np.float64] = 2 * (self.at[:, None] - pixel) - 1
        return distance

    def take(self, part: NDArray[np.int64] | slice) -> PointQueries:
        """Some of the queries."""
        step = self.step if isinstance(self.step, float) else self.step[part]
        return PointQueries(self.at[part], self.padded_grid, step, self.anchor)


NOISE = 1e-9


def _snapped(at: NDArray[np.float64]) -> NDArray[np.float64]:
    whole = np.rint(at)
    return np.where(np.abs(at - whole) < NOISE, whole, at)


@dataclass(frozen=True)
class GroupedOutputs:
    """Output pixels of one axis grouped by the cell they share, `n` slots a cell.

    `index[cell, k]` is the output pixel in slot `k`; cells with fewer outputs repeat their last.
    `gather` lists, for the outputs in order, their index in the flattened `[cells * n]` slots.
    """

    axis: Axis
    cells: Span
    index: NDArray[np.int64]
    gather: NDArray[np.int64]

    @classmethod
    def sort(cls, axis: Axis, outputs: Span, anchor: Anchor) -> GroupedOutputs:
        """Sort the output pixels `outputs` of `axis` into cells."""
        cell = axis.cells(outputs, anchor)
        first = int(cell[0])
        counts = np.bincount(cell - first)
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        n = int(counts.max())
        slot = np.minimum(np.arange(n)[None, :], np.maximum(counts - 1, 0)[:, None])
        index = np.minimum(starts[:, None] + slot, len(cell) - 1) + outputs.start
        rank = np.arange(len(cell)) - starts[cell - first]
        return cls(axis, Span(first, first + len(counts)), index, (cell - first) * n + rank)

    @property
    def n(self) -> int:
        """Slots per cell."""
        return int(self.index.shape[1])

    def take(self, part: Span) -> GroupedOutputs:
        """The cells `part` (counted from the first one) with only the slots that they need."""
        inside = (self.gather >= part.start * self.n) & (self.gather < part.stop * self.n)
        gather = self.gather[inside] - part.start * self.n
        used = int((gather % self.n).max(initial=0)) + 1
        cells = Span(self.cells.start + part.start, self.cells.start + part.stop)
        index = self.index[part.start : part.stop, :used]
        return GroupedOutputs(self.axis, cells, index, gather // self.n * used + gather % self.n)

    @property
    def padded_grid(self) -> int:
        """Grid pixels that exist."""
        return self.axis.padded_grid

    @property
    def step(self) -> float:
        """Size of an output pixel in half grid pixels."""
        return self.axis.step

    def pixels(self) -> NDArray[np.int64]:
        """The cell number in every slot, int64 `[cells, n]`."""
        cells = np.arange(self.cells.start, self.cells.stop, dtype=np.int64)
        return np.broadcast_to(cells[:, None], self.index.shape)

    def offset(self, pixel: NDArray[np.int64]) -> NDArray[np.float64]:
        """Distance of the slots' outputs from `pixel [cells, n, m]`, in half grid pixels."""
        return self.axis.offset(self.index[..., None], pixel)
