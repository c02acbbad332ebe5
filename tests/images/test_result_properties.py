"""Whatever an image is like, its result has the right size, mode and depth, and nothing bleeds."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from clit_deploy import export_checkpoint, load
from clit_deploy.images.image_files import read_image
from clit_deploy.images.image_formats import FORMATS, format_of
from clit_deploy.images.image_options import DEPTHS, ImageOptions
from clit_deploy.images.image_writer import image_writer
from clit_deploy.images.metadata import Metadata
from clit_deploy.images.pixels import to_depth, white_of
from clit_deploy.models import build_model
from clit_deploy.tasks.output_size import OutputSize
from clit_deploy.tasks.upscale_file import upscale_file
from tests.helpers import save_checkpoint, tiny_lte

PROFILES = {
    1: (Path(__file__).parents[1] / "odd" / "images" / "icc_gray18.png"),
    3: (Path(__file__).parents[1] / "odd" / "images" / "icc_prophoto.png"),
}
LOSSLESS = {".png", ".tif", ".webp", ".bmp"}
"""Formats that can keep every pixel. AVIF can, too, with 8 bits."""
BLURRED = {".jpg": 3, ".webp": 4, ".avif": 4, ".gif": 8}
"""How far a constant color may be off, of 255."""

few = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
ends = some.sampled_from([form.suffixes[0] for form in FORMATS])
depths = some.sampled_from(list(DEPTHS))
sides = some.integers(4, 20)


@pytest.fixture(scope="module")
def bilinear(tmp_path_factory):
    """LTE whose network answers zero, so that its results are bilinear: colors are what they were,
    and whatever changes them is not the model."""
    spec = tiny_lte()
    weights = {key: 0 * value for key, value in build_model(spec).state_dict().items()}
    path = tmp_path_factory.mktemp("plan") / "zero.pth"
    save_checkpoint(path, spec, weights)
    with load(export_checkpoint(path), threads=1, runtime="cpu") as up:
        yield up


def write(path, pixels, profile=None, **options):
    """A file with these pixels, of their type."""
    metadata = Metadata(profile=profile)
    with image_writer(
        path,
        pixels.shape[:2],
        pixels.shape[2],
        dtype=pixels.dtype,
        metadata=metadata,
        options=ImageOptions(**options),
    ) as append:
        append(pixels)
    return path


def read(path):
    """Pixels `[h, w, channels]` as a file stores them."""
    image = read_image(path)
    colors = image.rgb[..., :1] if image.gray else image.rgb
    return colors if image.alpha is None else np.concatenate([colors, image.alpha], axis=2)


@few
@given(end=ends, depth=depths, channels=some.integers(1, 4), height=sides, width=sides,
       seed=some.integers(0, 99), profile=some.booleans())  # fmt: skip
def test_lossless_formats_give_back_what_was_written(
    end, depth, channels, height, width, seed, profile
):
    form = format_of(Path(f"x{end}"))
    gray, alpha = channels < 3, channels in (2, 4)
    if end not in LOSSLESS or depth not in form.depths or (gray and not form.gray):
        return
    if alpha and not form.alpha:
        return
    icc = read_image(PROFILES[1 if gray else 3]).metadata.profile if profile else None
    values = np.random.default_rng(seed).random((height, width, channels))
    if alpha:
        values[..., -1] = np.maximum(values[..., -1], 0.01)  # hidden colors do not matter
    pixels = to_depth(values.astype(np.float32), DEPTHS[depth])
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / f"x{end}", pixels, icc, lossless=end == ".webp")
        assert np.array_equal(read(path), pixels)
        assert read(path).dtype == pixels.dtype
        if end != ".bmp":
            assert read_image(path).metadata.profile == icc


@few
@given(end=ends, channels=some.integers(1, 4), depth=depths, height=sides, width=sides,
       scale=some.sampled_from([1, 1.3, 2, 3.7]), out=ends, level=some.integers(0, 255),
       color=some.tuples(*[some.integers(0, 255)] * 3))  # fmt: skip
def test_a_constant_color_stays_and_the_size_is_exact(
    bilinear, end, channels, depth, height, width, scale, out, level, color
):
    source = format_of(Path(f"x{end}"))
    if depth not in source.depths or source.colors:
        depth = source.depths[0]
    gray, alpha = channels < 3 and source.gray, channels in (2, 4) and source.alpha
    channels = (1 if gray else 3) + alpha
    values = np.empty((height, width, channels), np.float32)
    values[..., : channels - alpha] = np.array(color[: channels - alpha]) / 255
    if alpha:
        values[..., -1] = 1
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / f"in{end}", to_depth(values, DEPTHS[depth]))
        before = read(path)
        upscale_file(bilinear, path, Path(folder) / f"out{out}", OutputSize(scale=scale))
        after = read_image(Path(folder) / f"out{out}")
    size = round(height * scale), round(width * scale)
    assert after.rgb.shape[:2] == size
    made = format_of(Path(f"x{out}"))
    assert after.gray == ((before.shape[2] < 3) and made.gray) or made.colors
    held = {np.uint8: "8", np.uint16: "16", np.float32: "float"}[before.dtype.type]
    wanted = held if held in made.depths else made.depths[-1]
    assert after.rgb.dtype == DEPTHS[wanted]
    expected = before[0, 0, :3] if before.shape[2] > 2 else before[0, 0, :1]
    off = after.rgb / white_of(after.rgb.dtype) - expected / white_of(before.dtype)
    coded = np.ptp(before.reshape(-1, before.shape[2]), axis=0).max() / white_of(before.dtype)
    assert np.abs(off).max() * 255 <= 0.51 + 255 * coded + BLURRED.get(out, 0)


@few
@given(seed=some.integers(0, 999), size=some.integers(6, 24), soft=some.booleans(),
       scale=some.sampled_from([1, 2, 3.7]), deep=some.booleans(),
       gray=some.booleans())  # fmt: skip
def test_hidden_colors_never_show(bilinear, seed, size, soft, scale, deep, gray):
    rng = np.random.default_rng(seed)
    alpha = (rng.random((size, size)) < 0.5).astype(np.float32)
    if soft:
        alpha *= rng.random((size, size)).astype(np.float32) * 0.9 + 0.1
    channels = 1 if gray else 3
    color = np.float32([20, 110, 40][:channels]) / 255
    values = np.where(alpha[..., None] > 0, color, rng.random((size, size, channels)))
    values = np.concatenate([values, alpha[..., None]], axis=2).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "in.png", to_depth(values, DEPTHS["16" if deep else "8"]))
        upscale_file(bilinear, path, Path(folder) / "out.png", OutputSize(scale=scale))
        made = read(Path(folder) / "out.png").astype(np.float64)
        made /= white_of(DEPTHS["16" if deep else "8"])
        upscale_file(bilinear, path, Path(folder) / "out.tif", OutputSize(scale=scale),
                     options=ImageOptions(srgb=True, strip=True))  # fmt: skip
        assert np.array_equal(read(Path(folder) / "out.tif"), read(Path(folder) / "out.png"))
    if alpha.any():
        shown = made[made[..., -1] > 16 / 255][:, :channels]
        assert len(shown) == 0 or np.abs(shown - color).max() * 255 <= 0.51
