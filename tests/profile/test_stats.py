"""Percentiles by the stated method, and noise that neither cries wolf nor sleeps."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from clit_deploy.profile.stats import CONFIDENCE_SIGMAS, drift, standard_error, summarize


def test_percentiles_of_a_known_sample():
    stats = summarize([10.0, 20.0, 30.0, 40.0, 50.0])
    assert (stats.count, stats.min, stats.max, stats.p50) == (5, 10, 50, 30)
    assert (stats.p90, stats.p95, stats.p99) == pytest.approx((46, 48, 49.6))
    assert stats.std == pytest.approx(statistics.stdev([10, 20, 30, 40, 50]))


def test_one_run_has_no_deviation():
    assert summarize([3.0]).std == 0


def test_drift_compares_fifths():
    rising = [100.0 + k for k in range(20)]
    found = drift(rising)
    assert (found.first_p50_ms, found.last_p50_ms) == (101.5, 117.5)
    assert found.percent == pytest.approx(100 * 16 / 101.5)
    assert drift(rising[:9]) is None


def test_too_few_runs_are_no_evidence():
    assert standard_error([1.0] * 4) == math.inf
    assert standard_error([1.0] * 5) == 0


def white(rng, count):
    return 100 * (1 + 0.03 * rng.standard_normal(count))


def tailed(rng, count):
    """Steady runs, a tenth of which are late by up to a third."""
    late = rng.random(count) * (rng.random(count) < 0.1)
    return 100 * (1 + 0.01 * rng.standard_normal(count) + 0.3 * late)


def drifting(rng, count):
    """Slower or faster by up to a tenth from start to end."""
    slope = rng.uniform(-0.1, 0.1) * np.linspace(0, 1, count)
    return 100 * (1 + 0.01 * rng.standard_normal(count) + slope)


def exceeding(make, count, shift=0.0, threshold=0.05, rounds=400):
    """How often two synthetic runs differ by more than noise and threshold."""
    rng, hits = np.random.default_rng(0), 0
    for _ in range(rounds):
        a, b = make(rng, count), make(rng, count) * (1 + shift)
        noise = CONFIDENCE_SIGMAS * math.hypot(
            standard_error(a.tolist()), standard_error(b.tolist())
        )
        difference = abs(float(np.median(b) - np.median(a)))
        hits += difference > max(noise, threshold * float(np.median(a)))
    return hits / rounds


@pytest.mark.parametrize("count", [10, 60, 300])
@pytest.mark.parametrize(("make", "most"), [(white, 0.02), (tailed, 0.02), (drifting, 0.12)])
def test_equal_runs_rarely_differ(make, most, count):
    assert exceeding(make, count) <= most


@pytest.mark.parametrize("make", [white, tailed])
def test_a_true_regression_is_found(make):
    assert exceeding(make, 60, shift=0.08) >= 0.95
    assert exceeding(make, 10, shift=0.15) >= 0.9


def test_noise_alone_decides_without_a_threshold():
    assert exceeding(white, 60, threshold=0.0) <= 0.03
