"""An encoded image renders any region as the whole has it, from tiles that come and go.

`CLIT_DEPLOY_REGIONS` is how many random regions of each family are compared, 8 by default.
"""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clit_deploy
from clit_deploy.errors import (
    CancelledError,
    ClosedError,
    CoordinateError,
    OptionError,
    SizeError,
)
from clit_deploy.render import stage
from tests.helpers import photo

FAMILIES = ("clit", "lit", "liif", "lte")
HEIGHT, WIDTH = 70, 90
REGIONS = int(os.environ.get("CLIT_DEPLOY_REGIONS", "8"))
"""Random regions for each family."""
TOLERANCE = 1e-5


@pytest.fixture(scope="module", params=FAMILIES)
def up(request, plans):
    with clit_deploy.load(plans[request.param], threads=2) as opened:
        yield opened


@pytest.fixture(scope="module")
def image():
    return photo(HEIGHT, WIDTH)


def spans(length):
    """Two different places along an axis."""
    ends = st.lists(st.integers(0, length), min_size=2, max_size=2, unique=True)
    return ends.map(sorted)


@settings(max_examples=REGIONS, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_region_equals_its_part_of_the_whole(up, image, data):
    size = data.draw(st.integers(HEIGHT, 4 * HEIGHT)), data.draw(st.integers(WIDTH, 4 * WIDTH))
    (top, bottom), (left, right) = (data.draw(spans(side)) for side in size)
    pitch = HEIGHT / size[0], WIDTH / size[1]
    region = (
        left * pitch[1], top * pitch[0], (right - left) * pitch[1], (bottom - top) * pitch[0],
    )  # fmt: skip
    whole = up.upscale(image, size=size)
    with up.encode(image, cache=CACHES[data.draw(st.sampled_from(sorted(CACHES)))]) as encoded:
        part = encoded.render(size=(bottom - top, right - left), region=region)
    assert part.shape == (bottom - top, right - left, 3)
    assert np.abs(part - whole[top:bottom, left:right]).max() <= TOLERANCE


CACHES = {"all": "256MB", "few": "500kB"}


def test_a_region_between_pixels_equals_single_queries(up, image):
    left, top, width, height = region = 10.3, 7.77, 21.4, 13.9
    rows, cols = 53, 71
    y = top + (np.arange(rows) + 0.5) * height / rows
    x = left + (np.arange(cols) + 0.5) * width / cols
    at = np.stack(np.meshgrid(2 * y / HEIGHT - 1, 2 * x / WIDTH - 1, indexing="ij"), -1)
    cell = np.array([2 * height / rows / HEIGHT, 2 * width / cols / WIDTH])
    scale = max(rows / height, cols / width)
    expected = up.query(image, at.reshape(-1, 2), cell, scale=scale).reshape(rows, cols, 3)
    with up.encode(image) as encoded:
        got = encoded.render(size=(rows, cols), region=region)
        queried = encoded.query(at.reshape(-1, 2), cell, scale=scale)
    assert np.abs(got - expected.clip(0, 1)).max() <= TOLERANCE
    assert np.array_equal(queried.reshape(expected.shape), expected)


def test_the_whole_and_its_attention_are_those_of_the_upscaler(up, image):
    with up.encode(image) as encoded:
        whole = encoded.render(scale=2.5)
        assert np.abs(whole - up.upscale(image, scale=2.5)).max() <= TOLERANCE
        bytes_ = encoded.render(scale=2.5, dtype=np.uint8)
        assert np.array_equal(bytes_, (whole * 255 + 0.5).astype(np.uint8))
        assert encoded.stages(scale=2) == 1
        if up.plan.manifest.stages[0].attention:
            pairs = zip(
                encoded.attention((90, 50), scale=4),
                up.attention(image, (90, 50), scale=4),
                strict=True,
            )
            assert all(np.abs(one - other).max() <= TOLERANCE for one, other in pairs)


def test_a_region_costs_only_the_tiles_that_it_reads(plans):
    image = photo(400, 500)
    with clit_deploy.load(plans["clit"]) as up, up.encode(image, cache="1.2MB") as encoded:
        encoded.render(scale=4, region=(5, 5, 20, 20))
        assert encoded.tiles_computed == 1
        encoded.render(scale=8, region=(9, 2, 10, 20))
        assert encoded.tiles_computed == 1
        encoded.render(scale=2)
        total = encoded.tiles_computed
        assert total > 4
        assert encoded.cached_bytes <= 1_200_000
        encoded.prefetch((480, 380, 20, 20))
        now = encoded.tiles_computed
        encoded.render(scale=4, region=(485, 385, 10, 10))
        assert encoded.tiles_computed == now


def test_threads_share_tiles_and_get_the_same_pixels(plans):
    image = photo(200, 260)
    with clit_deploy.load(plans["clit"], threads=2) as up, up.encode(image) as encoded:
        regions = [(x, y, 60.0, 50.0) for x in range(0, 250, 50) for y in range(0, 200, 50)]
        with ThreadPoolExecutor(4) as pool:
            got = list(pool.map(lambda r: encoded.render(scale=2, region=r), regions))
        computed = encoded.tiles_computed
        whole = up.upscale(image, scale=2)
        for (x, y, _, _), part in zip(regions, got, strict=True):
            at = slice(2 * y, 2 * y + 100), slice(2 * x, 2 * x + 120)
            assert np.abs(part - whole[at]).max() <= TOLERANCE
        encoded.render(scale=2)
        assert encoded.tiles_computed == computed  # every tile once, by whichever thread


def test_half_precision_keeps_twice_as_much(plans, image):
    with clit_deploy.load(plans["liif"]) as up:
        with up.encode(image) as exact, up.encode(image, half=True) as half:
            difference = np.abs(exact.render(scale=3) - half.render(scale=3)).max()
            assert half.cached_bytes * 2 == exact.cached_bytes
        assert 0 < difference < 5e-3


def test_a_cancelled_render_stops_within_a_chunk(plans, monkeypatch):
    cancel = threading.Event()
    chunks = []
    window = stage.Stage._window

    def counted(self, *args):
        chunks.append(time.monotonic())
        if len(chunks) == 5:
            cancel.set()
        return window(self, *args)

    monkeypatch.setattr(stage.Stage, "_window", counted)
    image = photo(64, 64)
    with clit_deploy.load(plans["clit"], threads=1) as up, up.encode(image) as encoded:
        with pytest.raises(CancelledError, match="cancelled"):
            encoded.render(scale=12, cancel=cancel)
        assert len(chunks) == 5
        with pytest.raises(CancelledError):  # the same event again
            encoded.render(scale=2, cancel=cancel)
        assert len(chunks) == 5
        assert encoded.render(scale=2).shape == (128, 128, 3)
        with pytest.raises(CancelledError):
            encoded.render(scale=2, cancel=lambda: True)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"scale": 2, "region": (0, 0, 0, 5)}, CoordinateError, "is empty or outside the image"),
        ({"scale": 2, "region": (80, 0, 11, 5)}, CoordinateError, "90 pixels wide and 70 high"),
        ({"scale": 2, "region": (-1, 0, 4, 5)}, CoordinateError, "outside"),
        ({"scale": 2, "region": (0, 0, float("nan"), 5)}, CoordinateError, "four numbers"),
        ({"scale": 2, "region": (0, 0, 5)}, CoordinateError, "four numbers"),
        ({"scale": 0.5, "region": (0, 0, 4, 5)}, SizeError, "at least 1"),
        ({"size": (3, 9), "region": (0, 0, 4, 5)}, SizeError, "only enlarge"),
        ({"region": (0, 0, 4, 5)}, SizeError, "either a scale or an output size"),
        ({"scale": 2, "dtype": np.int8}, OptionError, "float32, uint8 or uint16"),
    ],
)
def test_what_cannot_be_rendered_is_refused(plans, image, arguments, error, words):
    with (
        clit_deploy.load(plans["liif"]) as up,
        up.encode(image) as encoded,
        pytest.raises(error, match=words),
    ):
        encoded.render(**arguments)


def test_a_cache_below_one_tile_is_refused(plans, image):
    with (
        clit_deploy.load(plans["liif"]) as up,
        pytest.raises(OptionError, match="cannot hold one tile"),
    ):
        up.encode(image, cache=1000)


def test_a_closed_one_is_refused(plans, image):
    with clit_deploy.load(plans["liif"]) as up:
        encoded = up.encode(image)
        encoded.close()
        with pytest.raises(ClosedError, match="encode the image again"):
            encoded.render(scale=2)
        left_open = up.encode(image)
    with pytest.raises(ClosedError, match="load the plan again"):
        left_open.render(scale=2)
