from __future__ import annotations

import numpy as np
import pytest

from clit_deploy.drawings.scenes import SCENES, draw


@pytest.mark.parametrize("kind", SCENES)
def test_a_seed_draws_one_scene(kind):
    first = draw(kind, (60, 90), 2.5, 7)
    assert (first.shape, first.dtype) == ((60, 90, 3), np.uint8)
    assert (first == draw(kind, (60, 90), 2.5, 7)).all()
    assert (first != draw(kind, (60, 90), 2.5, 8)).any()
    assert first.std() > 5


@pytest.mark.parametrize("kind", SCENES)
def test_a_unit_makes_the_same_drawing_larger(kind):
    """Averaged over 4 x 4 pixels, a drawing for x8 is nearly that for x2."""
    small, large = (draw(kind, (24 * u, 24 * u), u, 3).astype(float) for u in (2, 8))
    averaged = large.reshape(48, 4, 48, 4, 3).mean(axis=(1, 3))
    assert np.abs(averaged - small).mean() < 0.15 * small.std()


def test_a_night_is_dark_with_bright_lights():
    image = draw("night", (192, 192), 2, 100)
    assert np.median(image) < 30
    assert image.max() > 240
