"""Single coordinates: the same network as on a grid, at any place."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import clit_deploy
from clit_deploy.errors import CoordinateError, MemoryBudgetError, SizeError
from clit_deploy.grid.cascade import stage_grids
from clit_deploy.grid.geometry import Axis, PointQueries, Span
from clit_deploy.grid.tiling import smallest
from clit_deploy.models import load_checkpoint
from clit_deploy.models.implicit_model import sample
from clit_deploy.render.bilinear import bilinear, bilinear_at
from clit_deploy.render.coordinates import output_of, queries_of, spacing
from clit_deploy.render.layout import BATCHES, Block, Layout, PointLayout
from tests.helpers import photo


def grid(height, width):
    axes = [(2 * np.arange(side) + 1) / side - 1 for side in (height, width)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)


@pytest.mark.parametrize("wish", [{"scale": 3.3}, {"scale": 6}, {"size": (40, 111)}])
def test_the_grid_of_a_picture_is_the_picture(plan, wish):
    image = photo(19, 23)
    with clit_deploy.load(plan) as up:
        whole = up.upscale(image, clip=False, **wish)
        got = up.query(image, grid(*whole.shape[:2]), scale=wish.get("scale"))
    assert got.dtype == np.float32
    assert np.abs(got.reshape(whole.shape) - whole).max() <= 1e-5


def test_tiles_and_order_change_nothing(plan):
    image = photo(40, 61)
    coords = np.random.RandomState(3).uniform(-1, 1, (900, 2))
    tile = smallest(plan.manifest.encoder.halo, plan.manifest.margin)
    with clit_deploy.Upscaler(plan, layout=Layout(4096, 64)) as up:
        whole = up.query(image, coords, scale=9)
    with clit_deploy.Upscaler(plan, layout=Layout(tile, 64)) as up:
        tiled = up.query(image, coords[::-1], scale=9)[::-1]
    assert np.abs(tiled - whole).max() <= 1e-5


@pytest.mark.parametrize("name", ["clit", "clit-ipe", "clit-learn", "liif", "lit-learn", "lte"])
def test_every_query_may_have_its_own_cell(plans, name):
    image, rng = photo(9, 12), np.random.RandomState(1)
    coords = rng.uniform(-1, 1, (50, 2))
    cell = rng.uniform(0.02, 0.1, (50, 2))
    with clit_deploy.load(plans[name]) as up:
        got = up.query(image, coords, cell, scale=3)
    model = load_checkpoint(plans[name].with_suffix(".pth")).model.double()
    inp = torch.from_numpy(image / 127.5 - 1).permute(2, 0, 1)[None]
    with torch.no_grad():
        (stage_grid,) = stage_grids((9, 12), (9, 12), (27, 36), 3, 1)
        maps = model.stage_maps(model.encoder(inp), stage_grid, 0)
        expected = model.query(maps, torch.from_numpy(coords), torch.from_numpy(cell), 0)
        if model.bilinear_base:
            expected = expected + sample(inp, torch.from_numpy(coords), "bilinear", "border")
    assert np.abs(got - (expected.numpy() / 2 + 0.5)).max() < 1e-4


def test_the_cell_of_a_regular_grid_is_its_spacing():
    coords = grid(7, 30)
    assert np.allclose(spacing(coords), [2 / 7, 2 / 30])
    assert np.allclose(spacing(coords[::-1]), [2 / 7, 2 / 30])
    assert spacing(coords[:-1]) is None
    assert spacing(coords[:30]) is None  # one row says nothing of rows
    scattered = queries_of(coords[:-1], None, (10, 20))
    assert np.allclose(scattered.cell, 0.25)  # image pixels


@pytest.mark.parametrize(
    ("coords", "words"),
    [
        (np.zeros(2), r"\[2\]; they must be \[q, 2\]"),
        (np.zeros((3, 3)), r"\[3, 3\]"),
        (np.zeros((0, 2)), r"\[0, 2\]"),
        ([[0.0, np.nan]], "NaN"),
        ([["a", "b"]], "not an array of numbers"),
        ([[0, 0.5], [0.25, -1.01]], "1 of 2 coords lie outside"),
    ],
)
def test_bad_coordinates_are_refused(plans, coords, words):
    with clit_deploy.load(plans["liif"]) as up, pytest.raises(CoordinateError, match=words):
        up.query(photo(8, 8), coords)


@pytest.mark.parametrize("factor", [4, 16])
def test_a_whole_factor_runs_the_stages_of_that_factor(factor):
    """x4 is 4, not the float above it, which would be one stage more."""
    for height in range(5, 60):
        image = height, height + 3
        cell = 2 / (np.array(image) * factor)
        queries = queries_of([[0, 0], [0.1, 0.1]], cell, image)
        assert output_of(queries, image) == ((height * factor, (height + 3) * factor), factor)


def test_a_float32_grid_is_a_grid_too(plans):
    image = photo(33, 41)
    with clit_deploy.load(plans["lte"]) as up:
        whole = up.upscale(image, scale=7, clip=False).reshape(-1, 3)
        got = up.query(image, grid(33 * 7, 41 * 7).astype(np.float32), scale=7)
    assert np.abs(got - whole).max() < 1e-3


def test_four_corners_are_no_pixels_as_large_as_the_picture():
    corners = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1.0]])
    assert np.allclose(queries_of(corners, None, (8, 10)).cell, 1)


@pytest.mark.parametrize("scale", [0, -3, 0.5, float("nan"), float("inf"), "4", 1e308])
def test_bad_scales_are_refused(plans, scale):
    with clit_deploy.load(plans["lte"]) as up, pytest.raises(SizeError, match="scale"):
        up.query(photo(8, 8), [[0, 0]], scale=scale)


def test_a_wished_scale_has_its_own_grids(plans):
    """The stages of x30 work on the grids of x30, whatever the size of the pixels."""
    image, at = photo(6, 7), np.array([[0.2, -0.3]])
    with clit_deploy.load(plans["clit"]) as up:
        fine = up.query(image, at, (2 / 180, 2 / 210), scale=30)
        wide = up.query(image, at, (2 / 24, 2 / 28), scale=30)
        other = up.query(image, at, (2 / 24, 2 / 28))
    assert np.abs(fine - wide).max() < np.abs(other - wide).max()


def test_queries_keep_to_the_memory_allowed(plans):
    with clit_deploy.load(plans["clit"], max_memory="1KB") as up:
        with pytest.raises(MemoryBudgetError, match="Querying an image of 8x8"):
            up.query(photo(8, 8), [[0, 0]])
        with pytest.raises(MemoryBudgetError, match="Querying an image of 8x8"):
            up.attention(photo(8, 8), (0, 0), scale=1000)  # the output's size is no matter
    with clit_deploy.load(plans["clit"]) as up:
        renderer = up.renderer
        job = renderer.job(photo(40, 40), scale=4)
        renderer.max_memory = renderer.point_forecast(job).peak - 1
        assert renderer.point_forecast(job).layout != PointLayout(40, BATCHES[0])


@pytest.mark.parametrize(
    "cell",
    [[0.1, 0], [0.1], [[0.1, 0.1]] * 3, [np.inf, 1], [0.1, -1], [1e-310] * 2, [3, 3], [1e39, 1]],
)
def test_bad_cells_are_refused(plans, cell):
    with clit_deploy.load(plans["liif"]) as up, pytest.raises(CoordinateError, match="cell"):
        up.query(photo(8, 8), [[0, 0], [0, 0.5]], cell)


def test_corners_of_the_image_are_answered(plan):
    corners = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1.0]])
    image = photo(8, 11)
    with clit_deploy.load(plan) as up:
        got = up.query(image, corners)
        near = up.query(image, corners * (1 - 1e-7), scale=4)
    assert np.abs(got - near).max() < 1e-3


@given(st.integers(1, 60), st.floats(1, 40), st.sampled_from(["pixel", "corner"]))
def test_points_find_the_cells_of_exact_arithmetic(side, scale, anchor):
    axis = Axis(side, round(side * scale))
    every = Span(0, axis.out)
    at = ((2 * np.arange(axis.out) + 1) / axis.out - 1 + 1) / 2 * side  # as a caller computes them
    points = PointQueries(at, side, axis.step, anchor)
    cells = axis.cells(every, anchor)
    assert np.array_equal(points.pixels(), cells)
    offset = points.offset(cells[:, None])[:, 0]
    assert np.abs(offset - axis.offset(np.arange(axis.out), cells)).max() < 1e-9


def test_bilinear_samples_are_those_of_the_grid():
    image = np.random.RandomState(0).rand(7, 9, 3).astype(np.float32)
    axes = Axis(7, 23), Axis(9, 31)
    whole = bilinear(image, axes, Block(Span(0, 23), Span(0, 31)))
    at = (grid(23, 31) + 1) / 2 * (7, 9)
    assert np.abs(bilinear_at(image, at).reshape(whole.shape) - whole).max() < 1e-6
