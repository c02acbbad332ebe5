"""Engines take every shape that the scheduler asks for, by its own word."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clit_deploy.engines.build import EngineLimits, work_limits_of
from clit_deploy.engines.profiles import shape_ranges
from clit_deploy.errors import OptionError, SizeError
from clit_deploy.plan.plan_file import Plan
from clit_deploy.runtimes.ort.ort_runtime import open_runtime
from clit_deploy.runtimes.protocols import WorkLimits
from clit_deploy.runtimes.wrappers import InputRecorder
from clit_deploy.upscaler import Upscaler

LARGEST = 200
"""Longest side of an output: enough for several blocks of 64."""

SIDES = st.sampled_from([1, 2, 3, 7, 8, 13, 16, 31, 40, 66])
FACTORS = st.one_of(
    st.sampled_from([1.0, 1.01, 2.0, 3.99, 4.0, 4.01, 15.9, 16.0, 16.1, 63.0, 64.0, 100.0]),
    st.floats(1, 70, allow_nan=False),
)
LIMITS = st.builds(
    EngineLimits, st.just(None), st.sampled_from([64, 128]), st.sampled_from([1, 2, 24])
)


def asked(plan, work_limits, work):
    """Shapes of the inputs of every run that some work asks for, by graph."""
    seen = set()

    def keep(member, feeds):
        seen.add((member, tuple((name, array.shape) for name, array in feeds.items())))

    with Upscaler(
        plan, runtime=InputRecorder(open_runtime("cpu", threads=1), keep, work_limits)
    ) as up:
        work(up)
    return seen


def takes(box, shapes):
    """Whether every length is in the box; lengths that the graph fixes are not its business."""
    return all(
        len(shape) == len(box.max[name])
        and all(
            most is None or least <= length <= most
            for least, length, most in zip(box.min[name], shape, box.max[name], strict=True)
        )
        for name, shape in shapes
    )


def assert_held(plan, limits, work):
    work_limits = work_limits_of(plan, limits)
    found = shape_ranges(plan, work_limits)
    for member, shapes in asked(plan, work_limits, work):
        assert any(takes(box, shapes) for box in found[member]), (member, shapes)


def picture(height, width):
    return np.random.RandomState(height).rand(height, width, 3).astype(np.float32)


def within(side, factor):
    """A length of at least `side` that is not more than the largest."""
    return max(min(round(side * factor), LARGEST), side)


@st.composite
def pieces_of_work(draw):
    """Calls of an upscaler: pictures of any size, evenly and unevenly grown, and queries."""
    image = picture(draw(SIDES), draw(SIDES))
    height, width, _ = image.shape
    if draw(st.booleans()):
        wish = {"scale": max(min(draw(FACTORS), LARGEST / max(height, width)), 1.0)}
    else:
        wish = {"size": (within(height, draw(FACTORS)), within(width, draw(FACTORS)))}
    rng = np.random.RandomState(draw(st.integers(0, 99)))
    coords = rng.uniform(-1, 1, (draw(st.integers(1, 40)), 2))
    cell = rng.uniform(0.001, 0.3, (len(coords), 2)) if draw(st.booleans()) else None

    def work(up):
        up.upscale(image, **wish)
        up.query(image, coords, cell, scale=asked_scale)
        if up.plan.manifest.stages[0].attention:
            rows, cols = up.renderer.job(image, **wish).output
            up.attention(image, (rows // 2, cols - 1), **wish)

    asked_scale = draw(st.one_of(st.none(), st.sampled_from([1.0, 4.1, 9.0, 33.0])))
    return work


@pytest.mark.parametrize(
    ("name", "examples"),
    [("clit", 10), ("clit-learn", 4), ("liif", 12), ("liif-plain", 8), ("lit", 12), ("lte", 12)],
)
def test_every_shape_that_is_asked_for_is_in_a_box(plans, name, examples):
    plan = Plan.open(plans[name])

    @given(limits=LIMITS, work=pieces_of_work(), multiple=st.sampled_from([1, 8]))
    @settings(max_examples=examples, derandomize=True, deadline=None)
    def holds(limits, work, multiple):
        encoder = dataclasses.replace(plan.manifest.encoder, multiple=multiple)
        assert_held(plan.replaced({}, encoder=encoder), limits, work)

    holds()


@pytest.mark.parametrize(
    ("shape", "size"),
    [((40, 3), (80, 80)), ((3, 40), (17, 117)), ((1, 1), (1, 17)), ((66, 9), (80, 130))],
)
def test_cascades_hold_sizes_that_grow_unevenly(plans, shape, size):
    """An axis that grows less than the stages do reads more features than any even scale."""
    plan, image = Plan.open(plans["clit"]), picture(*shape)
    assert_held(plan, EngineLimits(block=128), lambda up: up.upscale(image, size=size))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("name", "shape", "size"),
    [
        ("liif", (384, 6), (384, 6)),
        ("lte", (200, 6), (384, 12)),
        ("clit", (384, 6), (384, 6)),
        ("clit", (95, 5), (384, 21)),
        ("clit", (23, 2), (384, 33)),
    ],
)
def test_whole_blocks_in_the_middle_of_a_picture_are_held(plans, name, shape, size, turned):
    """Just above the scale at which a stage begins its grid is largest, and windows reach out of
    the block on both sides."""
    if turned:
        shape, size = shape[::-1], size[::-1]
    plan, image = Plan.open(plans[name]), picture(*shape)
    assert_held(plan, EngineLimits(block=128), lambda up: up.upscale(image, size=size))


def test_many_queries_at_once(plans):
    """More than the largest batch, all in one patch."""
    plan, coords = Plan.open(plans["liif"]), np.random.RandomState(0).uniform(-1, 1, (3000, 2))
    assert_held(plan, EngineLimits(), lambda up: up.query(picture(30, 30), coords))


def test_a_shape_beyond_the_limits_is_in_no_box(plans):
    """The check itself: a picture of the largest tile and one more."""
    plan = Plan.open(plans["liif"])
    work_limits = work_limits_of(plan, EngineLimits(tile=32))
    found = shape_ranges(plan, work_limits)["encoder.onnx"]
    for side, fits in ((32, True), (33, False)):
        shapes = (("image", (1, 3, side, side)),)
        assert any(takes(box, shapes) for box in found) is fits


def test_engines_are_fastest_where_most_work_is(plans):
    """The usual shape of every box lies between its ends."""
    for name in ("clit", "liif", "lte"):
        plan = Plan.open(plans[name])
        for some in shape_ranges(plan, work_limits_of(plan, EngineLimits())).values():
            for box in some:
                assert takes(box, tuple(box.opt.items()))


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (EngineLimits(tile=8), r"tile 8 is not valid.*at least \d+"),
        (EngineLimits(chunk=0), "chunk of 0"),
        (EngineLimits(block=32), "block of 32.*at least 1 and 64"),
    ],
)
def test_limits_that_make_no_sense_are_refused(plans, limits, words):
    with pytest.raises((SizeError, OptionError), match=words):
        work_limits_of(Plan.open(plans["liif"]), limits)


def test_a_tile_is_a_multiple_of_the_encoder_s_windows(plans):
    plan = Plan.open(plans["liif"])
    encoder = dataclasses.replace(plan.manifest.encoder, multiple=8)
    windowed = plan.replaced({}, encoder=encoder)
    with pytest.raises(SizeError, match="multiple of 8"):
        work_limits_of(windowed, EngineLimits(tile=60))
    assert work_limits_of(windowed, EngineLimits()).max_tile % 8 == 0


def test_boxes_need_limits(plans):
    with pytest.raises(AssertionError, match="limits"):
        shape_ranges(Plan.open(plans["liif"]), WorkLimits())
