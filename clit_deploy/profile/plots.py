"""The plots of a profile's page."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.profile.svg import BOTTOM, COLOURS, TOP, Plot, around
from clit_deploy.profile.text import label

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clit_deploy.profile.records import Row, TraceEvent

DOTS = 2000
"""More runs than that are thinned out in the plot; the JSON file has them all."""
FINEST = 1 / 1500
"""Of the timeline: marks of one name that are nearer than that are drawn as one."""
LAST = COLOURS - 1
"""Grey: graphs that have no phase of their own."""
LANE = 24
"""Pixels."""


def names(rows: Sequence[Row]) -> list[str]:
    """All phases, in the order of the first row; the order is that of the colours."""
    return list(dict.fromkeys(phase.name for row in rows for phase in row.phases))


def phases(rows: Sequence[Row]) -> str:
    """A bar for each row, cut into its phases."""
    order = names(rows)
    longest = max(row.host_ms.mean for row in rows)
    plot = Plot((0, longest * 1.02), (0, len(rows)), "phases", "ms", lanes=[label(r) for r in rows],
                height=TOP + BOTTOM + LANE * len(rows))  # fmt: skip
    for k, row in enumerate(rows):
        start = 0.0
        for phase in row.phases:
            stop = start + phase.mean_ms
            reported = f"{phase.name}: {phase.mean_ms:.2f} ms, {100 * phase.share:.1f} %"
            plot.box((start, stop), plot.lane(k), order.index(phase.name), reported)
            start = stop
    return plot.svg()


def timeline(row: Row, order: Sequence[str]) -> str:
    """The phases of one run, and what each thread ran meanwhile; `order` has the colours' names."""
    lanes = list(dict.fromkeys(mark.lane for mark in row.timeline))
    end = max(mark.start_ms + mark.ms for mark in row.timeline)
    plot = Plot((0, end), (0, len(lanes)), "timeline of one run", "ms", lanes=lanes,
                height=TOP + BOTTOM + LANE * len(lanes))  # fmt: skip
    for mark in _merged(row.timeline, end * FINEST):
        name = mark.name.removesuffix(".onnx")
        colour = order.index(name) if name in order else LAST
        reported = f"{mark.name}: {mark.start_ms:.2f} to {mark.start_ms + mark.ms:.2f} ms"
        plot.box((mark.start_ms, mark.start_ms + mark.ms), plot.lane(lanes.index(mark.lane)),
                 colour, reported)  # fmt: skip
    return plot.svg()


def over_time(row: Row) -> str:
    """A dot for each run, with median and p95."""
    step = -(-len(row.runs) // DOTS)
    seconds, ms = zip(*row.runs[::step], strict=True)
    plot = Plot((0, max(seconds[-1], 1e-3)), around(ms), "latency over time", "s", "ms")
    plot.points(seconds, ms)
    plot.level(row.host_ms.p50, f"p50 {row.host_ms.p50:.2f}")
    plot.level(row.host_ms.p95, f"p95 {row.host_ms.p95:.2f}")
    return plot.svg()


def histogram(row: Row) -> str:
    """Counts of latencies."""
    ms = [run[1] for run in row.runs]
    counts, edges = np.histogram(ms, bins=min(40, max(5, len(ms) // 5)))
    plot = Plot(
        around(ms), around(counts.tolist(), zero=True), "histogram", "ms", "runs", height=180
    )
    for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            reported = f"{left:.2f} to {right:.2f} ms: {count} runs"
            plot.box((float(left), float(right)), (0, float(count)), 0, reported)
    return plot.svg()


def curves(row: Row) -> Iterator[tuple[str, list[str], str]]:
    """Sensors over time: for each unit its word, the names in the order of colours, and a plot."""
    ordered = sorted(row.curves, key=lambda curve: curve.unit)
    for unit, group in groupby(ordered, key=lambda curve: curve.unit):
        some = list(group)
        word, factor = ("MB", 1e-6) if unit == "B" else (unit, 1.0)
        lines = [[value * factor for value in curve.values] for curve in some]
        end = max(max(curve.seconds) for curve in some)
        high = around([value for line in lines for value in line], zero=True)
        plot = Plot((0, max(end, 1e-3)), high, word, "s", word, height=180)
        for k, (curve, line) in enumerate(zip(some, lines, strict=True)):
            plot.line(curve.seconds, line, k)
            plot.points(curve.seconds[-1:], line[-1:], k)
        yield word, [curve.name for curve in some], plot.svg()


def _merged(marks: Sequence[TraceEvent], gap: float) -> Iterator[TraceEvent]:
    """Neighbours of one lane and name as one mark, where a pixel would not tell them apart."""
    ordered = sorted(marks, key=lambda mark: (mark.lane, mark.start_ms))
    current: TraceEvent | None = None
    for mark in ordered:
        if (
            current
            and (mark.lane, mark.name) == (current.lane, current.name)
            and (mark.start_ms - current.start_ms - current.ms < gap and current.ms < gap)
        ):
            ms = mark.start_ms + mark.ms - current.start_ms
            current = type(mark)(mark.lane, mark.name, current.start_ms, ms)
            continue
        if current:
            yield current
        current = mark
    if current:
        yield current
