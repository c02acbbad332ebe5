import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from clit_deploy.grid.geometry import Axis, GroupedOutputs, Span
from clit_deploy.render.tables.liif_tables import LiifTables

TABLES = LiifTables({}, {})


@given(st.integers(1, 20), st.floats(1, 9))
def test_blends_are_opposite_distances_and_sum_to_one(grid, scale):
    axis = Axis(grid, round(grid * scale))
    slots = GroupedOutputs.sort(axis, Span(0, axis.out), "corner")
    feeds = TABLES.axis("row", slots)
    offset, blend = feeds["row_offset"].astype(float), feeds["row_blend"]
    assert np.allclose(blend.sum(-1), 1, atol=1e-6)
    far = np.abs(offset[..., ::-1])
    inside = far.sum(-1) > 1e-3
    assert np.allclose(blend[inside], far[inside] / far[inside].sum(-1)[:, None], atol=1e-5)


def test_beyond_the_border_both_neighbors_are_the_last_pixel():
    slots = GroupedOutputs.sort(Axis(3, 12), Span(0, 12), "corner")
    offset = TABLES.axis("col", slots)["col_offset"]
    assert slots.cells == Span(-1, 3)
    assert np.array_equal(offset[0, :, 0], offset[0, :, 1])
    assert np.array_equal(offset[-1, :, 0], offset[-1, :, 1])
    assert (np.abs(offset) <= 2).all()


def test_a_centre_on_the_last_pixel_keeps_the_blend_defined():
    axis = Axis(4, 12)  # output 10 has its centre on that of pixel 3
    slots = GroupedOutputs.sort(axis, Span(10, 11), "corner")
    assert np.allclose(TABLES.axis("row", slots)["row_blend"], 0.5)
