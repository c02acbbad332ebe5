"""Affine and perspective resampling of files."""

import numpy as np
import pytest
from PIL import Image

import clit_deploy
from clit_deploy.errors import CoordinateError, OutputExistsError, SizeError
from clit_deploy.images.image_files import read_image
from clit_deploy.tasks.warp import Homography, warp_file
from tests.helpers import ROOT, cli, photo


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(photo(14, 18)).save(path)
    return path


def pixels(path):
    return np.asarray(Image.open(path)).astype(int)


def test_a_plain_scale_is_run(plans, picture, tmp_path):
    ran, warped = tmp_path / "run.png", tmp_path / "warp.png"
    for name in ("clit", "liif"):
        done = cli("run", picture, "-e", plans[name], "--scale", 4, "-o", ran, "--force")
        assert done.returncode == 0, done.stderr
        done = cli(
            "warp", picture, "-e", plans[name], "--matrix", "4,0,0,0,4,0", "--size", "72x56",
            "-o", warped, "--force",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "72x56" in done.stdout
        assert np.abs(pixels(ran) - pixels(warped)).max() <= 1  # a rounding to 8 bits


def test_a_quarter_turn_turns_the_output(plans, picture, tmp_path):
    with clit_deploy.load(plans["liif-plain"]) as up:
        turn = Homography.parse("0,-2,28,2,0,0")  # x' = 28 - 2y, y' = 2x
        warp_file(up, picture, tmp_path / "turned.png", turn, (36, 28))
        warp_file(up, picture, tmp_path / "big.png", Homography.parse("2,0,0,0,2,0"), (28, 36))
    # A quarter turn only puts the queries in another order.
    turned, big = pixels(tmp_path / "turned.png"), np.rot90(pixels(tmp_path / "big.png"), -1)
    assert np.abs(turned - big).max() <= 1


def test_the_outside_is_transparent_or_white(plans, picture, tmp_path):
    with clit_deploy.load(plans["liif"]) as up:
        moved = Homography.parse("2,0,10,0,2,6")
        warp_file(up, picture, tmp_path / "a.png", moved, (40, 60))
        warp_file(up, picture, tmp_path / "a.bmp", moved, (40, 60))
    rgba = pixels(tmp_path / "a.png")
    assert rgba.shape == (40, 60, 4)
    inside = np.zeros((40, 60), bool)
    inside[6:34, 10:46] = True
    assert np.array_equal(rgba[..., 3] == 255, inside)
    assert (pixels(tmp_path / "a.bmp")[~inside] == 255).all()


def test_a_warped_image_keeps_its_depth_channels_and_profile(plans, tmp_path):
    odd = ROOT / "tests" / "odd" / "images"
    larger = Homography.parse("2,0,0,0,2,0")
    with clit_deploy.load(plans["liif"]) as up:
        warp_file(up, odd / "icc_gray18.png", tmp_path / "gray.png", larger, (64, 64))
        warp_file(up, odd / "ramp_rgb16.png", tmp_path / "deep.png", larger, (64, 128))
    gray, deep = read_image(tmp_path / "gray.png"), read_image(tmp_path / "deep.png")
    assert gray.gray
    assert gray.metadata.profile == read_image(odd / "icc_gray18.png").metadata.profile
    assert deep.rgb.dtype == np.uint16


def test_perspective_lands_where_the_matrix_says():
    way = Homography.parse("3,0.2,5,-0.1,2.5,7,0.002,0.001,1")
    x, y = np.array([0.5, 9, 3.25]), np.array([2, 0.125, 11])
    out = way.matrix @ np.stack([x, y, np.ones(3)])
    col, row = out[:2] / out[2]
    back = way.queries(row, col)
    assert np.allclose(back.at, np.stack([y, x], axis=-1))
    step = 1e-5  # the size of a pixel is the derivative
    for axis, (dy, dx) in enumerate([(step, 0), (0, step)]):
        moved = (way.queries(row + dy, col + dx).at - back.at) / step
        if axis == 0:
            down = moved
        else:
            across = moved
    assert np.allclose(back.cell, np.hypot(down, across), rtol=1e-3)


def test_the_same_matrix_in_other_numbers_is_the_same_way():
    way, other = Homography.parse("3,0,1,0,3,2,0,0,1"), Homography.parse("-3,0,-1,0,-3,-2,0,0,-1")
    row, col = np.array([4.0, 9]), np.array([1.0, 30])
    assert np.allclose(way.queries(row, col).at, other.queries(row, col).at)


def test_a_small_part_of_a_large_output_is_found(plans, picture, tmp_path):
    with clit_deploy.load(plans["liif-plain"]) as up:
        small = Homography.parse("4,0,5,0,4,5")
        warp_file(up, picture, tmp_path / "wide.png", small, (70, 9000))
        close = Homography.parse("900,0,-8000,0,900,-6000")
        warp_file(up, picture, tmp_path / "close.png", close, (12, 10))
    assert pixels(tmp_path / "wide.png")[..., 3].any()
    assert pixels(tmp_path / "close.png").shape == (12, 10, 3)


@pytest.mark.parametrize("scale", [2.3, 1.1, 2.7])
def test_an_opaque_picture_that_fills_the_output_stays_opaque(plans, picture, tmp_path, scale):
    size = round(14 * scale - 0.5), round(18 * scale - 0.5)
    with clit_deploy.load(plans["liif-plain"]) as up:
        matrix = f"{size[1] / 18},0,0,0,{size[0] / 14},0"
        warp_file(up, picture, tmp_path / "o.png", Homography.parse(matrix), size)
    assert pixels(tmp_path / "o.png").shape == (*size, 3)


def test_beyond_the_horizon_there_is_nothing():
    way = Homography.parse("1,0,0,0,1,0,0,0.1,1")  # y' = y / (0.1 y + 1) stays below 10
    at = way.queries(np.array([5.0, 15.0]), np.array([1.0, 1.0])).at
    assert np.isfinite(at[0]).all()
    assert np.isnan(at[1]).all()


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        ("1,2,3", "3 numbers"),
        ("1,0,0,0,x,0", "not a number"),
        ("1,0,0,0,nan,0", "finite"),
        ("1,2,0,2,4,0", "singular"),
        ("0,0,0,0,0,0", "singular"),
        ("1,0,0,0,1,0,1,0,0", "singular"),
        ("1,0,0,0,1,0,0,0,1,5", "10 numbers"),
    ],
)
def test_bad_matrices_are_refused(matrix, words):
    with pytest.raises(CoordinateError, match=words):
        Homography.parse(matrix)


def test_a_far_move_is_not_singular():
    assert Homography.parse("4,0,1e7,0,4,-1e7").matrix.shape == (3, 3)


def test_bad_wishes_end_before_the_work(plans, picture, tmp_path, caplog):
    with clit_deploy.load(plans["liif"]) as up:
        away = Homography.parse("1,0,500,0,1,0")
        with pytest.raises(CoordinateError, match="moves the whole image out"):
            warp_file(up, picture, tmp_path / "a.png", away, (10, 10))
        with pytest.raises(SizeError, match="at least 1"):
            warp_file(up, picture, tmp_path / "a.png", away, (0, 10))
        with pytest.raises(OutputExistsError):
            warp_file(up, picture, picture, away, (10, 10))
        far = Homography.parse("1e308,0,0,0,1e308,0")
        with pytest.raises(CoordinateError):
            warp_file(up, picture, tmp_path / "a.png", far, (10, 10))
        warp_file(up, picture, tmp_path / "s.png", Homography.parse("0.5,0,0,0,0.5,0"), (7, 9))
    assert "only enlarge" in caplog.text
    assert not (tmp_path / "a.png").exists()
