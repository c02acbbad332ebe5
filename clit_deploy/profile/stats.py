"""Percentiles of runs, and the uncertainty of their median."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.profile.records import Drift, Stats

if TYPE_CHECKING:
    from collections.abc import Sequence

MIN_RUNS = 5
"""Fewer runs do not show their own noise."""
BATCHES = 10
MAD_TO_STD = 1.4826
"""Median absolute deviation to standard deviation, for a normal distribution."""
CONFIDENCE_SIGMAS = 3.0
"""Standard errors between two medians that count as different: one false alarm in 370, where the
batches are independent and normal."""


def summarize(values: Sequence[float]) -> Stats:
    """Count, mean, deviation and percentiles; see `Stats`."""
    p50, p90, p95, p99 = (float(p) for p in np.percentile(values, [50, 90, 95, 99]))
    std = statistics.stdev(values) if len(values) > 1 else 0.0
    mean = statistics.fmean(values)
    return Stats(len(values), mean, std, min(values), p50, p90, p95, p99, max(values))


def standard_error(runs: Sequence[float]) -> float:
    """Standard error of the median of these runs, in their unit; infinite below `MIN_RUNS`.

    Neighboring runs are alike (clocks and caches change slowly), so runs are grouped into batches
    of consecutive ones, ten at most. The spread of the batches' medians (1.4826 times their median
    absolute deviation) gives the error of the median of all. Runs that drift have no single
    median: `CONFIDENCE_SIGMAS` errors then cover at least the distance between the medians of both
    halves, also where another profile's drift comes on top.
    """
    if len(runs) < MIN_RUNS:
        return math.inf
    batches = np.array_split(np.asarray(runs, float), min(BATCHES, len(runs)))
    medians = np.array([np.median(batch) for batch in batches])
    deviation = MAD_TO_STD * float(np.median(np.abs(medians - np.median(medians))))
    half = len(runs) // 2
    drifted = abs(float(np.median(runs[:half])) - float(np.median(runs[half:])))
    # sqrt(pi / 2): a median is less certain than a mean.
    noise = deviation * math.sqrt(math.pi / 2 / len(batches))
    return max(noise, math.sqrt(2) * drifted / CONFIDENCE_SIGMAS)


def drift(runs: Sequence[float]) -> Drift | None:
    """The last fifth compared with the first; None below ten runs."""
    fifth = len(runs) // 5
    if fifth < 2:
        return None
    first, last = statistics.median(runs[:fifth]), statistics.median(runs[-fifth:])
    return Drift(first, last, 100 * (last / first - 1))
