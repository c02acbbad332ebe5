"""Requested sizes: exact where they name a side, and of the image's aspect where they do not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import clit_deploy
from clit_deploy.cli.size_options import SizeOptions, one_size
from clit_deploy.cli.typed_values import all_scales
from clit_deploy.errors import OptionError, SizeError
from clit_deploy.grid.cascade import output_size
from clit_deploy.render.layout import Job, Layout
from clit_deploy.tasks.output_size import OutputSize
from clit_deploy.tasks.upscale_file import upscale_file
from clit_deploy.upscaler import Upscaler
from tests.helpers import photo

SIDES = st.integers(1, 4000)
IMAGES = st.tuples(SIDES, SIDES)


@dataclass
class Sizes:
    """Stands for a renderer: its arithmetic, without a plan."""

    def job_of(self, image, *, scale=None, size=None, region=None):
        assert region is None
        return Job(image, *output_size(image, scale, size))


def made(wanted, image):
    """The size that is rendered, which is the one that was announced."""
    job = wanted.job(Sizes(), image)
    assert wanted.output(image) == job.made
    return job.made


def of_aspect(image, output):
    """Whether one scale, rounded, gives both sides."""
    (h, w), (height, width) = image, output
    return max((height - 0.5) / h, (width - 0.5) / w) <= min((height + 0.5) / h, (width + 0.5) / w)


@given(IMAGES, st.integers(0, 9000), st.sampled_from(["width", "height", "longest", "shortest"]))
def test_a_side_is_exact_and_the_other_follows(image, more, way):
    now = {"height": image[0], "width": image[1], "longest": max(image), "shortest": min(image)}
    side = now[way] + more
    output = made(OutputSize(**{way: side}), image)
    then = {"height": output[0], "width": output[1], "longest": max(output)}
    assert {**then, "shortest": min(output)}[way] == side
    assert of_aspect(image, output)


@given(IMAGES, IMAGES)
def test_fit_is_the_largest_output_inside(image, more):
    box = image[0] + more[0], image[1] + more[1]
    wanted = OutputSize(fit=box)
    output = made(wanted, image)
    assert output[0] <= box[0]
    assert output[1] <= box[1]
    assert output[0] == box[0] or output[1] == box[1]
    assert of_aspect(image, output)


@given(IMAGES, IMAGES)
def test_fill_is_exact_and_cuts_along_one_side(image, more):
    box = image[0] + more[0], image[1] + more[1]
    wanted = OutputSize(fill=box)
    job = wanted.job(Sizes(), image)
    assert made(wanted, image) == box
    assert job.output[0] == box[0] or job.output[1] == box[1]
    assert of_aspect(image, job.output)
    for whole, part in zip(job.output, (job.part.rows, job.part.cols), strict=True):
        assert abs(part.start - (whole - part.stop)) <= 1, "the middle"


@given(IMAGES, st.floats(1, 30), st.floats(1, 30))
def test_factors_of_each_side(image, down, across):
    output = made(OutputSize(factors=(down, across)), image)
    assert output == (round(image[0] * down), round(image[1] * across))
    assert made(OutputSize(scale=down), image)[0] == output[0]


@given(IMAGES, st.floats(1, 9), IMAGES)
def test_only_another_aspect_is_a_stretch(image, scale, other):
    size = (round(image[0] * scale), round(image[1] * scale))
    assert not OutputSize(size=size).stretches(image)
    assert OutputSize(size=other).stretches(image) != of_aspect(image, other)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (OutputSize(factors=(0.5, 2)), "at least 1"),
        (OutputSize(factors=(float("nan"), 2)), "at least 1"),
        (OutputSize(factors=(2, float("inf"))), "at least 1"),
        (OutputSize(scale=0.5), "at least 1"),
        (OutputSize(fit=(9, 9)), "only enlarge"),
        (OutputSize(longest=0), "only enlarge"),
    ],
)
def test_sizes_that_no_model_makes(wanted, words):
    with pytest.raises(SizeError, match=words):
        wanted.job(Sizes(), (10, 20))


def test_options_become_sizes():
    assert SizeOptions(scale=["2,3x2", "4x4"]).sizes() == [
        OutputSize(scale=2),
        OutputSize(factors=(2, 3)),
        OutputSize(scale=4),
    ]
    labels = [size.label for size in SizeOptions(scale=["2.5,3x2"]).sizes()]
    assert labels == ["x2.5", "x3x2"]
    for way, label in [
        ({"fit": "30x20"}, "fit30x20"),
        ({"size": "30x20"}, "30x20"),
        ({"width": 7}, "w7"),
        ({"longest": 7}, "longest7"),
    ]:
        (size,) = SizeOptions(**way).sizes()
        assert size.label == label
    with pytest.raises(OptionError, match=r"exactly one of --scale, .*--fit and --fill"):
        SizeOptions(fit="3x3", width=3).sizes()


def test_a_window_is_a_part_of_the_whole(tiny_plan):
    """With tiles, so that some are skipped."""
    image = photo(90, 140)
    with clit_deploy.Upscaler(tiny_plan, layout=Layout(32, 64)) as up:
        whole = up.upscale(image, scale=2.5, clip=False)
        job = OutputSize(fill=(225, 100)).job(up.renderer, image.shape[:2])
        assert job.output == whole.shape[:2]
        part = up.renderer.prepare(job).array(image)
        rows, cols = job.part.rows, job.part.cols
        np.testing.assert_allclose(
            part, whole[rows.start : rows.stop, cols.start : cols.stop], atol=1e-6
        )


REQUESTS = st.one_of(
    st.floats(1, 4).map(lambda scale: OutputSize(scale=scale)),
    st.tuples(st.floats(1, 4), st.floats(1, 4)).map(lambda pair: OutputSize(factors=pair)),
    st.tuples(st.integers(24, 70), st.integers(24, 70)).map(lambda size: OutputSize(size=size)),
    st.tuples(st.integers(24, 70), st.integers(24, 70)).map(lambda size: OutputSize(fill=size)),
    st.integers(24, 70).map(lambda side: OutputSize(shortest=side)),
)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 24), st.integers(1, 24), REQUESTS)
def test_a_file_has_exactly_the_requested_size(tiny_plan, tmp_path_factory, height, width, wanted):
    folder = tmp_path_factory.mktemp("exact")
    Image.fromarray(photo(height, width)).save(folder / "a.png")
    with Upscaler(tiny_plan, runtime="cpu") as up:
        result = upscale_file(up, folder / "a.png", folder / "b.png", wanted)
    with Image.open(folder / "b.png") as made:
        assert (made.height, made.width) == wanted.output((height, width)) == result.size


def test_commands_that_need_one_scale_say_so():
    assert one_size(["2x3"], None) == OutputSize(factors=(3, 2))
    assert one_size(None, "30x20") == OutputSize(size=(20, 30))
    for scale, size, words in [
        (None, None, "either --scale or --size"),
        (["2"], "30x20", "either --scale or --size"),
        (["2,3"], None, "'2,3' is more than one scale"),
    ]:
        with pytest.raises(OptionError, match=words):
            one_size(scale, size)
    with pytest.raises(OptionError, match="'2x3' has two factors"):
        all_scales(["4,2x3"], "")
    with pytest.raises(OptionError, match="not a valid scale"):
        SizeOptions(scale=["2x"]).sizes()
