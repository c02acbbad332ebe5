import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import conv2d

from clit_deploy.export.clit_graphs import ClitExport
from clit_deploy.grid.cascade import StageGrid, stage_grids
from clit_deploy.grid.geometry import Axis, GroupedOutputs, Span
from clit_deploy.models import build_model
from clit_deploy.models.implicit_model import pixel_centers, sample
from clit_deploy.render.tables.clit_tables import ClitTables
from tests.helpers import ruled_weights, tiny_clit

SPEC = tiny_clit()
MODEL = build_model(SPEC).double()
MODEL.load_state_dict(ruled_weights(MODEL.state_dict()))
TABLES = ClitTables(SPEC["args"], ClitExport(MODEL).arrays())


def test_row_and_column_biases_add_up_to_the_model_s():
    rows = GroupedOutputs.sort(Axis(5, 23), Span(0, 23), "pixel")
    cols = GroupedOutputs.sort(Axis(4, 9), Span(0, 9), "pixel")
    by_row = TABLES.axis("row", rows)["row_bias"]  # [cells, n, heads, k]
    by_col = TABLES.axis("col", cols)["col_bias"]
    steps = 2.0 * np.arange(-3, 4)
    offset_y = rows.axis.offset(rows.index, rows.pixels())[2, 1] - steps
    offset_x = cols.axis.offset(cols.index, cols.pixels())[3, 0] - steps
    offsets = torch.tensor(np.stack(np.meshgrid(offset_y, offset_x, indexing="ij"), axis=-1))
    expected = MODEL.pb_encoder.bias(offsets, torch.ones(2)).detach().numpy()
    got = by_row[2, 1].T[:, None] + by_col[3, 0].T[None, :]
    assert np.abs(got - expected).max() < 1e-6


def test_bilinear_weights_are_those_of_interpolation():
    axis = Axis(6, 20)
    slots = GroupedOutputs.sort(axis, Span(0, 20), "pixel")
    weights = TABLES.axis("row", slots)["row_weights"]
    ramp = slots.pixels()[..., None] + np.arange(-1, 2) + 0.5
    centre = (2 * slots.index + 1) * 6 / 40
    assert np.allclose((weights * ramp).sum(-1), centre, atol=1e-6)
    assert np.allclose(weights.sum(-1), 1, atol=1e-6)


@given(st.integers(3, 9), st.integers(3, 9), st.integers(1, 5), st.data())
def test_taps_are_a_convolution_of_the_resampled_map(h, w, factor, data):
    grid = h * factor, w * factor
    rows = data.draw(st.integers(0, grid[0] - 1).map(lambda a: Span(a, grid[0])))
    cols = data.draw(st.integers(1, grid[1]).map(lambda b: Span(0, b)))
    coarse = torch.rand(1, 1, h, w, dtype=torch.float64)
    kernel = torch.rand(1, 1, 3, 3, dtype=torch.float64)
    fine = sample(coarse, pixel_centers(grid, coarse), "bilinear").permute(2, 0, 1)[None]
    expected = conv2d(fine, kernel, padding=1)[0, 0].numpy()
    expected = expected[rows.start : rows.stop, cols.start : cols.stop]
    rise = Axis(h, grid[0]), Axis(w, grid[1])
    stage_grid = StageGrid(rise, (Axis(grid[0], grid[0]), Axis(grid[1], grid[1])))
    work = TABLES.project(1, stage_grid, rows, cols)
    # Features reach one pixel further, for the convolution that widens them.
    y, x = work.rows.grow(-1, -1), work.cols.grow(-1, -1)
    part = coarse[0, 0, y.start : y.stop, x.start : x.stop].numpy()
    row_taps = work.feeds["row_taps"].reshape(len(rows), 3, len(y))
    col_taps = work.feeds["col_taps"].reshape(len(cols), len(x), 3)
    got = np.einsum("rap,pq,cqb,ab->rc", row_taps, part, col_taps, kernel[0, 0].numpy())
    assert np.abs(got - expected).max() < 1e-5


def test_the_mask_is_zero_outside_the_image():
    (stage_grid,) = stage_grids((5, 6), (5, 6), (10, 12), 2, 1)
    work = TABLES.project(0, stage_grid, Span(0, 5), Span(2, 4))
    assert work.feeds["row_inside"].tolist() == [0, 1, 1, 1, 1, 1, 0]
    assert work.feeds["col_inside"].tolist() == [1, 1, 1, 1]
    assert (work.rows, work.cols) == (Span(-2, 7), Span(0, 6))
