"""Figures beside bicubic: they show the pixels of the whole output, wherever they are cut."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import clit_deploy
from clit_deploy.cli.typed_values import parse_region
from clit_deploy.errors import CoordinateError, OptionError, OutputExistsError
from clit_deploy.grid.geometry import Axis, Span
from clit_deploy.images.resample import resize_bicubic
from clit_deploy.render.layout import Block, Layout
from clit_deploy.tasks.output_size import OutputSize
from clit_deploy.tasks.preview_figure import preview_file
from clit_deploy.tasks.side_by_side import GAP, HEADER, bicubic_block
from tests.helpers import cli, photo


@st.composite
def spans(draw, length):
    start = draw(st.integers(0, length - 1))
    return Span(start, draw(st.integers(start + 1, length)))


def bicubic(image, size):
    """Pillow's, the width first."""
    return resize_bicubic(resize_bicubic(image, (image.shape[0], size[1])), size).astype(int)


@given(st.data(), st.integers(1, 40), st.integers(1, 40), st.floats(1, 9), st.floats(1, 9))
def test_a_block_of_bicubic_is_a_part_of_the_whole(data, height, width, down, across):
    image = photo(height, width)
    output = round(height * down), round(width * across)
    block = Block(data.draw(spans(output[0])), data.draw(spans(output[1])))
    whole = bicubic(image, output)[block.rows.start : block.rows.stop]
    expected = whole[:, block.cols.start : block.cols.stop]
    axes = Axis(height, output[0]), Axis(width, output[1])
    assert np.abs(bicubic_block(image, axes, block) - expected).max() <= 1


def panels(path, width):
    """The two panels of a figure, without labels and margins."""
    with Image.open(path) as figure:
        pixels = np.asarray(figure)[HEADER:-GAP].astype(int)
    middle = (pixels.shape[1] - 3 * GAP) // 2 + 2 * GAP
    return pixels[:, GAP : GAP + width], pixels[:, middle : middle + width]


def test_a_preview_shows_the_pixels_of_the_whole_output(tiny_plan, tmp_path):
    image = photo(120, 150)
    source, target = tmp_path / "a.png", tmp_path / "p.png"
    Image.fromarray(image).save(source)
    with clit_deploy.load(tiny_plan, runtime="cpu") as up:
        whole = up.upscale(image, scale=2.5) * 255
        result = preview_file(up, source, target, OutputSize(2.5), (100, 40), 30)
        assert up.renderer.leanest(OutputSize(2.5).job(up.renderer, (120, 150))).tile >= 128
    assert result.region == {"x": 25, "y": 85, "width": 30, "height": 30}
    rows = slice(round(85 * 2.5), round(85 * 2.5) + result.size[0])
    cols = slice(round(25 * 2.5), round(25 * 2.5) + result.size[1])
    left, right = panels(target, result.size[1])
    assert np.abs(right - whole[rows, cols]).max() <= 0.51
    assert np.abs(left - bicubic(image, (300, 375))[rows, cols]).max() <= 1


def test_a_preview_encodes_little_around_its_region(tiny_plan):
    image = photo(300, 400)
    with clit_deploy.load(tiny_plan, runtime="cpu") as up:
        window = Block(Span(600, 700), Span(800, 900))
        job = up.renderer.job_of((300, 400), scale=4)
        whole = up.renderer.prepare(job, layout=Layout(96, 64)).array(image)
        job = type(job)(job.size, job.output, job.scale, window)
        layout = up.renderer.leanest(job)
        scheduler = up.renderer._scheduler
        assert scheduler.encoded_pixels(job, layout) <= 4 * 96 * 96
        part = up.renderer.prepare(job, layout=layout).array(image)
    np.testing.assert_allclose(part, whole[600:700, 800:900], atol=1e-5)


def test_a_preview_at_a_corner_and_outside(tiny_plan, tmp_path):
    source, target = tmp_path / "a.png", tmp_path / "p.png"
    Image.fromarray(photo(20, 30)).save(source)
    with clit_deploy.load(tiny_plan, runtime="cpu") as up:
        result = preview_file(up, source, target, OutputSize(width=60), (19, 29), 10)
        assert result.region == {"x": 24, "y": 14, "width": 6, "height": 6}
        with pytest.raises(OutputExistsError):
            preview_file(up, source, target, OutputSize(2), (0, 0))
        with pytest.raises(CoordinateError, match=r"no pixel 30,0 .* 30x20"):
            preview_file(up, source, target, OutputSize(2), (0, 30), force=True)
        whole = preview_file(up, source, target, OutputSize(2), (0, 0), 900, force=True)
        assert whole.size == (40, 60)


def test_regions_are_parsed():
    assert parse_region("120,80") == ((80, 120), None)
    assert parse_region(" 3, 4 ,5") == ((4, 3), 5)
    for text in ("3", "3,4,0", "-1,3", "a,b", "1,2,3,4"):
        with pytest.raises(OptionError, match="not a region"):
            parse_region(text)


def test_the_command_draws_both_figures(tiny_plan, tmp_path):
    image = photo(40, 50)
    Image.fromarray(image).save(tmp_path / "a.png")
    words = ["run", "a.png", "-e", tiny_plan, "-s", 3, "--json"]
    done = cli(*words, "--preview", "20,20", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["results"]
    assert result["output"] == "a_preview.png"
    assert (tmp_path / "a_preview.png").is_file()
    done = cli(*words, "-o", "r.png", "--compare", "c.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "r.png") as made:
        result = np.asarray(made).astype(int)
    left, right = panels(tmp_path / "c.png", 150)
    assert np.array_equal(right, result)
    assert np.abs(left - bicubic(image, (120, 150))).max() <= 1


def test_a_comparison_of_a_cropped_result_shows_the_same_part(tiny_plan, tmp_path):
    image = photo(40, 50)
    Image.fromarray(image).save(tmp_path / "a.png")
    words = ["--fill", "90x150", "-o", "r.png", "--compare", "c.png"]
    done = cli("run", "a.png", "-e", tiny_plan, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    left, _ = panels(tmp_path / "c.png", 90)
    whole = bicubic(image, (150, 188))
    assert np.abs(left - whole[:, 49:139]).max() <= 1
