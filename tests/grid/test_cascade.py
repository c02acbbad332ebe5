import math

import pytest

from clit_deploy.errors import SizeError
from clit_deploy.grid.cascade import factors, grids, output_size


@pytest.mark.parametrize(
    ("scale", "stages", "expected"),
    [
        (3, 3, [3]),
        (4, 3, [4]),
        (12, 3, [4, 3]),
        (16, 3, [4, 4]),
        (30, 3, [4, 4, 1.875]),
        (12, 1, [12]),
        (30, 2, [4, 7.5]),
        (100, 3, [4, 4, 6.25]),
    ],
)
def test_factors_of_four_until_at_most_four_is_left(scale, stages, expected):
    assert factors(scale, stages) == expected
    assert math.prod(factors(scale, stages)) == pytest.approx(scale)


def test_grids_are_the_image_then_four_and_sixteen_times_it():
    assert grids((7, 6), (210, 180), 30, 3) == [(7, 6), (28, 24), (112, 96)]


def test_no_grid_is_finer_than_the_output():
    assert grids((10, 10), (300, 15), 30, 3) == [(10, 10), (40, 15), (160, 15)]


def test_sizes_round_as_python_does():
    assert output_size((13, 9), 9.7, None) == ((126, 87), 9.7)
    assert output_size((5, 3), 2.5, None)[0] == (12, 8)


def test_the_scale_of_a_size_is_the_larger_ratio():
    assert output_size((10, 20), None, (30, 100)) == ((30, 100), 5.0)


@pytest.mark.parametrize("scale", [0, -2, 0.5, math.nan, math.inf])
def test_bad_scales_are_refused(scale):
    with pytest.raises(SizeError, match="scale"):
        output_size((8, 8), scale, None)


def test_a_size_below_the_image_is_refused():
    with pytest.raises(SizeError, match="7x9 is below"):
        output_size((8, 8), None, (9, 7))
    with pytest.raises(SizeError, match="not both"):
        output_size((8, 8), 2, (9, 9))
    with pytest.raises(SizeError, match="either a scale or an output size"):
        output_size((8, 8), None, None)
