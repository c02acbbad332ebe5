import pytest
from hypothesis import given
from hypothesis import strategies as st

from clit_deploy.errors import SizeError
from clit_deploy.grid.tiling import smallest, tiles


@given(st.integers(1, 900), st.integers(0, 40), st.integers(0, 9), st.integers(0, 200))
def test_cores_partition_and_are_right_with_their_margin(length, halo, margin, extra):
    side = smallest(halo, margin) + extra
    found = tiles(length, side, halo, margin)
    covered = [i for tile in found for i in range(tile.core.start, tile.core.stop)]
    assert covered == list(range(length))
    assert len({len(tile.seen) for tile in found}) == 1
    for tile in found:
        assert tile.seen.start >= 0
        assert tile.seen.stop <= length
        for i in range(max(tile.core.start - margin, 0), min(tile.core.stop + margin, length)):
            assert tile.valid.start <= i < tile.valid.stop
            # Right means: what the receptive field needs is seen, or outside the image.
            assert max(i - halo, 0) >= tile.seen.start
            assert min(i + halo, length - 1) < tile.seen.stop


def test_an_image_that_fits_is_one_tile():
    (tile,) = tiles(30, 64, 10, 3)
    assert len(tile.seen) == len(tile.core) == 30


def test_a_tile_below_its_halo_is_refused():
    with pytest.raises(SizeError, match="at least 34"):
        tiles(100, 20, 10, 3)
