"""Small plots as SVG text: axes, points, lines, bars. No script, nothing to fetch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

COLOURS = 16
"""Classes `c0` to `c15` of the page's style sheet: a cascade of three stages has 14 phases."""
LEFT, RIGHT, TOP, BOTTOM = 84, 14, 10, 40
"""Room around the plot for ticks and labels, in pixels."""
LETTER = 6.4
"""Width of a letter of a label, in pixels."""


@dataclass
class Plot:
    """A plot with linear axes; `x` and `y` are the ranges that it shows."""

    x: tuple[float, float]
    y: tuple[float, float]
    title: str
    x_label: str = ""
    y_label: str = ""
    width: int = 820
    height: int = 240
    lanes: Sequence[str] = ()
    """Names of the rows 0, 1, ... from the top, instead of a numbered y axis."""
    _marks: list[str] = field(default_factory=list)

    @property
    def left(self) -> float:
        """Where the plot begins: names of lanes may need more room than numbers."""
        return max(LEFT, *(12 + LETTER * len(name) for name in self.lanes), LEFT)

    def points(self, xs: Sequence[float], ys: Sequence[float], colour: int = 0) -> None:
        """A dot for each pair."""
        for x, y in zip(xs, ys, strict=True):
            reported = f"{x:.4g}: {y:.5g}"
            self._marks.append(
                f'<circle class="mark c{colour % COLOURS}" cx="{self._x(x):.1f}" '
                f'cy="{self._y(y):.1f}" r="2.2"><title>{reported}</title></circle>'
            )

    def line(self, xs: Sequence[float], ys: Sequence[float], colour: int = 0) -> None:
        """A line through the pairs."""
        path = " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in zip(xs, ys, strict=True))
        self._marks.append(f'<polyline class="mark l{colour % COLOURS}" points="{path}"/>')

    def level(self, y: float, text: str) -> None:
        """A dashed line across, with a word."""
        at = self._y(y)
        right = self.width - RIGHT
        self._marks.append(
            f'<line class="level" x1="{self.left:.0f}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>'
            f'<text class="word" x="{right - 4}" y="{at - 4:.1f}">{escape(text)}</text>'
        )

    def box(
        self, x: tuple[float, float], y: tuple[float, float], colour: int, reported: str
    ) -> None:
        """A filled rectangle."""
        (top, bottom), left = sorted(map(self._y, y)), self._x(x[0])
        wide, high = max(self._x(x[1]) - left, 0.4), max(bottom - top, 0.4)
        self._marks.append(
            f'<rect class="mark c{colour % COLOURS}" x="{left:.2f}" y="{top:.2f}" '
            f'width="{wide:.2f}" height="{high:.2f}"><title>{escape(reported)}</title></rect>'
        )

    def lane(self, index: int) -> tuple[float, float]:
        """The y range of a lane, for `box`."""
        return index + 0.12, index + 0.88

    def svg(self) -> str:
        """The plot."""
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" '
            f'aria-label="{escape(self.title)}">{"".join(self._axes())}{"".join(self._marks)}</svg>'
        )

    def _axes(self) -> Iterable[str]:
        bottom, left, right = self.height - BOTTOM, f"{self.left:.0f}", self.width - RIGHT
        for value in ticks(*self.x):
            at = self._x(value)
            yield f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{bottom}"/>'
            yield f'<text class="tick" x="{at:.1f}" y="{bottom + 15}">{value:g}</text>'
        for k, name in enumerate(self.lanes):
            yield self._side(k + 0.5, name)
        for value in () if self.lanes else ticks(*self.y):
            at = self._y(value)
            yield f'<line class="grid" x1="{left}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>'
            yield self._side(value, f"{value:g}")
        middle = (self.left + right) / 2
        yield f'<text class="tick" x="{middle}" y="{self.height - 6}">{escape(self.x_label)}</text>'
        turned = f"translate(14,{(TOP + bottom) / 2:.0f}) rotate(-90)"
        yield f'<text class="tick" transform="{turned}">{escape(self.y_label)}</text>'

    def _side(self, y: float, text: str) -> str:
        at = f'x="{self.left - 6:.0f}" y="{self._y(y) + 4:.1f}"'
        return f'<text class="side" {at}>{escape(text)}</text>'

    def _x(self, value: float) -> float:
        return self.left + _part(value, self.x) * (self.width - self.left - RIGHT)

    def _y(self, value: float) -> float:
        part = _part(value, self.y)
        down = part if self.lanes else 1 - part
        return TOP + down * (self.height - TOP - BOTTOM)


def ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Round numbers from `low` to `high`: steps of 1, 2 or 5 times a power of ten."""
    span = high - low
    if not span > 0:
        return [low]
    rough = span / most
    power = 10 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{k * step:.10g}") for k in range(first, last + 1)]


def around(values: Sequence[float], zero: bool = False) -> tuple[float, float]:
    """A range with some air around the values; from 0 on if asked to."""
    low, high = min(values), max(values)
    if zero:
        return 0.0, high * 1.08 or 1.0
    air = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
    return low - air, high + air


def _part(value: float, limits: tuple[float, float]) -> float:
    return (value - limits[0]) / ((limits[1] - limits[0]) or 1)
