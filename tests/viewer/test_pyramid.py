"""Tiles cover each level exactly, and their regions are exact."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from clit_deploy.errors import CoordinateError
from clit_deploy.render.region import regions_of
from clit_deploy.viewer.pyramid import ENLARGED, OVERLAP, TILE, Pyramid

SIZES = [(1, 1), (1, 3000), (256, 256), (257, 100), (3000, 4001)]


@pytest.mark.parametrize("image", SIZES)
def test_levels_go_from_one_tile_to_the_largest_zoom(image):
    pyramid = Pyramid(image)
    assert max(pyramid.size(0)) <= TILE
    assert pyramid.scales[pyramid.own] == 1
    assert pyramid.size(pyramid.own) == image
    assert pyramid.scales[-1] == ENLARGED[-1]
    assert list(pyramid.scales) == sorted(pyramid.scales)


@pytest.mark.parametrize("image", [(1, 1), (257, 100), (301, 530)])
@pytest.mark.parametrize("scale", [Fraction(1, 2), 1, 3])
def test_tiles_without_what_they_share_cover_a_level_once(image, scale):
    pyramid = Pyramid(image)
    if scale not in pyramid.scales:
        pytest.skip("an image of one tile has no smaller level")
    level = pyramid.scales.index(scale)
    height, width = pyramid.size(level)
    covered = np.zeros((height, width), int)
    for row in range(-(-height // TILE)):
        for col in range(-(-width // TILE)):
            tile = pyramid.tile(level, col, row)
            top, left = row * TILE - tile.rows.start, col * TILE - tile.cols.start
            assert {top, left} <= {0, OVERLAP}
            core = slice(row * TILE, (row + 1) * TILE), slice(col * TILE, (col + 1) * TILE)
            covered[core] += 1
            assert tile.rows.stop in (height, (row + 1) * TILE + OVERLAP)
            assert tile.cols.stop in (width, (col + 1) * TILE + OVERLAP)
    assert (covered == 1).all()


def test_regions_of_enlarged_tiles_are_exact():
    pyramid = Pyramid((3001, 4003))
    for level in range(pyramid.own + 1, len(pyramid.scales)):
        scale = pyramid.scales[level]
        height, width = pyramid.size(level)
        col, row = (width - 1) // TILE, (height - 1) // TILE  # the last tile
        tile = pyramid.tile(level, col, row)
        rows, cols = regions_of(tile.region, pyramid.image)
        assert rows.start * scale == tile.rows.start
        assert cols.start * scale == tile.cols.start
        assert rows.start + rows.length == 3001
        assert cols.start + cols.length == 4003
        assert (rows.length * scale, cols.length * scale) == tile.size


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ((99, 0, 0), "enlarges it 32 times"),
        ((-1, 0, 0), "no level -1"),
        ((0, 1, 0), "1 columns and 1 rows"),
        ((0, 0, -1), "no tile"),
    ],
)
def test_what_does_not_exist_is_refused(place, words):
    with pytest.raises(CoordinateError, match=words):
        Pyramid((40, 50)).tile(*place)
