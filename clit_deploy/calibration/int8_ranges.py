"""Ranges of tensors: what of their numbers int8 keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.calibration.settings import Method
from clit_deploy.errors import CalibrationError
from clit_deploy.passes.inner_tensors import session_with

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import onnx
    from numpy.typing import NDArray

BINS = 2048
LEVELS = 128
"""Magnitudes of symmetric int8, zero among them."""

SHARE = 0.99999
"""Of the magnitudes that `percentile` keeps."""

MIN_RANGE = LEVELS * 2.0**-24
"""Range from which on a step is a number of FP16, the smallest."""


class AbsHistogram:
    """A histogram of magnitudes; its limit doubles whenever a larger number comes."""

    def __init__(self) -> None:
        self.largest = 0.0
        self._limit = 0.0
        self._counts = np.zeros(BINS, np.int64)

    def add(self, values: NDArray[np.generic]) -> None:
        """Count an array.

        Raises:
            FloatingPointError: not all of it is finite.
        """
        size = np.abs(np.asarray(values, np.float32)).ravel()
        top = float(size.max(initial=0.0))
        if not np.isfinite(top):
            raise FloatingPointError(f"the largest magnitude is {top}")
        if top == 0.0 and self._limit == 0.0:
            return
        self.largest = max(self.largest, top)
        self._limit = self._limit or top
        while self._limit < top:
            self._counts = np.r_[self._counts.reshape(-1, 2).sum(1), np.zeros(BINS // 2, np.int64)]
            self._limit *= 2
        self._counts += np.histogram(size, BINS, (0, self._limit))[0]

    def range(self, method: Method) -> float:
        """The largest magnitude to keep, at least `MIN_RANGE`; 1 where all numbers are zero, for
        any step holds them."""
        if self.largest == 0.0:
            return 1.0
        if method is Method.MINMAX:
            return max(self.largest, MIN_RANGE)
        find = _percentile if method is Method.PERCENTILE else _entropy
        edge = find(self._counts) * self._limit / BINS
        return max(min(edge, self.largest), MIN_RANGE)


def _percentile(counts: NDArray[np.int64]) -> int:
    """Bins that hold `SHARE` of the numbers."""
    total = np.cumsum(counts)
    return int(np.searchsorted(total, SHARE * total[-1])) + 1


def _entropy(counts: NDArray[np.int64]) -> int:
    """Bins after which to cut so that the divergence of the quantised distribution from the true
    one is least (Migacz, 8-bit inference with TensorRT, GTC 2017). Zeros do not count: ReLU makes
    so many of them that nothing else would matter."""
    mass = counts.astype(np.float64)
    mass[0] = 0
    top = int(np.flatnonzero(mass)[-1]) + 1 if mass.any() else BINS
    ends = [*range(LEVELS, top, 16), max(top, LEVELS)]
    best: int = min(ends, key=lambda end: _divergence(mass, end))
    return best


def _divergence(counts: NDArray[np.float64], end: int) -> float:
    """Kullback-Leibler divergence of the first `end` bins, the rest clipped into the last, from
    what `LEVELS` steps make of them."""
    kept = counts[:end]
    true = kept.copy()
    true[-1] += counts[end:].sum()
    step = np.arange(end) * LEVELS // end
    filled = kept > 0
    mass = np.bincount(step, kept, LEVELS)
    width = np.maximum(np.bincount(step, filled, LEVELS), 1)
    rough = np.where(filled, (mass / width)[step], 0)
    if not true.sum() or not rough.sum():
        return np.inf
    p, q = true / true.sum(), rough / rough.sum()
    some = p > 0
    return float(np.sum(p[some] * np.log(p[some] / np.maximum(q[some], 1e-9))))


def observe(
    model: onnx.ModelProto,
    tensors: Iterable[str],
    batches: Iterable[Mapping[str, NDArray[np.generic]]],
) -> dict[str, AbsHistogram]:
    """Run a graph on batches and look at some of its tensors.

    Raises:
        CalibrationError: one holds numbers that are not finite.
    """
    wanted = sorted(set(tensors))
    inputs = {value.name for value in model.graph.input}
    seen = {name: AbsHistogram() for name in wanted}
    inner = [name for name in wanted if name not in inputs]
    session = session_with(model, inner)
    for batch in batches:
        feeds = {name: value for name, value in batch.items() if name in inputs}
        found = dict(zip(inner, session.run(inner, feeds), strict=True)) if inner else {}
        for name in wanted:
            try:
                seen[name].add(found[name] if name in found else feeds[name])
            except FloatingPointError as error:
                raise CalibrationError(
                    f"{name} of the float plan's {model.graph.name} is not finite: {error}. Look "
                    "at the checkpoint's weights."
                ) from error
    return seen
