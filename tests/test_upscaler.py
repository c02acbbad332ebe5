import importlib

import numpy as np
import pytest

import clit_deploy
from clit_deploy.errors import (
    ClosedError,
    ImageError,
    MemoryBudgetError,
    OptionError,
    SizeError,
)
from tests.helpers import photo


@pytest.fixture(scope="module")
def up(plans):
    with clit_deploy.load(plans["clit"]) as opened:
        yield opened


def test_the_result_is_float32_in_range(up):
    out = up.upscale(photo(9, 11), scale=2.5)
    assert out.shape == (22, 28, 3)
    assert out.dtype == np.float32
    assert out.min() >= 0
    assert out.max() <= 1


def test_clip_false_leaves_what_is_outside(up):
    image = (photo(9, 11) > 127).astype(np.uint8) * 255
    free = up.upscale(image, scale=2.5, clip=False)
    assert (free.min() < 0) or (free.max() > 1)
    assert np.array_equal(np.clip(free, 0, 1), up.upscale(image, scale=2.5))


def test_input_types_agree(up):
    image = photo(8, 8)
    expected = up.upscale(image, scale=2)
    sixteen = image.astype(np.uint16) * 257
    for same in (sixteen, image.astype(np.float32) / 255, image / 255.0, image[:, ::-1][:, ::-1]):
        assert np.abs(up.upscale(same, scale=2) - expected).max() < 1e-6


def test_the_input_is_left_alone(up):
    image = photo(8, 8).astype(np.float32) / 255
    before = image.copy()
    up.upscale(image, scale=3)
    assert np.array_equal(image, before)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((8, 8, 3), np.int32),
        np.full((8, 8, 3), np.nan, np.float32),
        np.full((8, 8, 3), 255, np.float32),
        "photo.png",
    ],
)
def test_bad_images_are_refused(up, image):
    with pytest.raises(ImageError):
        up.upscale(image, scale=2)


def test_requested_sizes_are_checked(up):
    with pytest.raises(SizeError):
        up.upscale(photo(8, 8), scale=0.5)
    for request in ({}, {"scale": "2"}, {"scale": 1e308}, {"size": 3}, {"size": (np.nan, 9)}):
        with pytest.raises(SizeError):
            up.upscale(photo(8, 8), **request)


def test_the_public_surface_is_small(plans):
    with clit_deploy.load(plans["liif"], runtime="cpu", threads=1) as up:
        public = {name for name in dir(up) if not name.startswith("_")}
        assert public == {
            *("upscale", "encode", "query", "attention", "close"),
            *("plan", "runtime", "max_memory", "renderer"),
        }
        assert repr(up).startswith("<Upscaler of liif.plan on onnxruntime ")
        with pytest.raises(AttributeError):
            up.max_memory = 1
    assert repr(up).endswith(", closed>")


def test_a_closed_upscaler_says_so(plans):
    with clit_deploy.load(plans["liif"]) as opened:
        pass
    with pytest.raises(ClosedError, match="closed"):
        opened.upscale(photo(8, 8), scale=2)


def test_bad_options_are_refused(plans):
    with pytest.raises(OptionError, match="auto, cpu, cuda"):
        clit_deploy.load(plans["clit"], runtime="npu")
    for threads in (0, -1, 100_000):
        with pytest.raises(OptionError, match="from 1 to 256"):
            clit_deploy.load(plans["clit"], threads=threads)
    with pytest.raises(OptionError, match="write it like 2GB"):
        clit_deploy.load(plans["clit"], max_memory="lots")


@pytest.mark.parametrize(
    "error", [MemoryError(), ImportError("libx.so: cannot map it: Cannot allocate memory")]
)
def test_libraries_that_do_not_fit_are_our_error(monkeypatch, error):
    def no_memory(_):
        raise error

    monkeypatch.setattr(importlib, "import_module", no_memory)
    with pytest.raises(MemoryBudgetError, match="libraries that 'load' needs"):
        clit_deploy.__getattr__("load")
