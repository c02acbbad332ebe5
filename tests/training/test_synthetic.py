"""Drawn pictures: the same for the same seed, of every kind."""

from __future__ import annotations

import numpy as np
import pytest

from clit_deploy.training.synthetic import KINDS, synthetic


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", [24, 97])
def test_a_picture_comes_from_its_seed(kind, side):
    first, again = (synthetic(side, np.random.default_rng(5), kind) for _ in range(2))
    other = synthetic(side, np.random.default_rng(6), kind)
    assert first.shape == (3, side, side)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_all_kinds_are_drawn(monkeypatch):
    seen = set()
    for name, kind in list(KINDS.items()):

        def noted(side, rng, name=name, kind=kind):
            seen.add(name)
            return kind(side, rng)

        monkeypatch.setitem(KINDS, name, noted)
    rng = np.random.default_rng(0)
    for _ in range(60):
        synthetic(16, rng)
    assert seen == {"line art", "strokes", "checkerboard", "dither", "white noise", "gradient"}


def test_kinds_are_what_they_are_called():
    rng = np.random.default_rng(1)

    def mean_of(measure, kind):
        return np.mean([measure(synthetic(64, rng, kind).astype(float)) for _ in range(12)])

    def colors(picture):
        return len(np.unique(picture.reshape(3, -1), axis=1).T)

    def roughness(picture):
        return np.abs(np.diff(picture, axis=2)).mean()

    assert mean_of(colors, "checkerboard") <= 2
    assert mean_of(colors, "dither") <= 2
    assert mean_of(roughness, "gradient") < 3
    assert mean_of(roughness, "white noise") > 10
    for kind in ("line art", "strokes"):
        covers = [np.unique(synthetic(64, rng, kind)[0]).size for _ in range(12)]
        assert max(covers) > 2, kind  # edges are smooth
