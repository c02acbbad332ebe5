"""Large images are read while they are rendered, and their results are the same."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from clit_deploy import load
from clit_deploy.errors import ImageError
from clit_deploy.images import image_files
from clit_deploy.images.image_files import open_image, read_image
from clit_deploy.images.rolling_rows import RollingRows
from clit_deploy.render.layout import Layout
from clit_deploy.tasks.output_size import OutputSize
from clit_deploy.tasks.upscale_file import upscale_file
from tests.helpers import photo


@pytest.fixture
def all_are_large(monkeypatch):
    monkeypatch.setattr(image_files, "LARGE", 0)


def bands(pixels, rows):
    return (pixels[start : start + rows] for start in range(0, len(pixels), rows))


def test_rows_are_those_of_the_array_and_old_ones_are_gone():
    pixels = photo(500, 7)
    rolling = RollingRows(
        lambda first: bands(pixels[first:], 30), (500, 7), 3, pixels.dtype, reach=100
    )
    for start in range(0, 440, 20):
        assert np.array_equal(rolling[start : start + 60], pixels[start : start + 60])
        index = np.array([start + 59, start + 3, start + 59])
        assert np.array_equal(rolling[index], pixels[index])
    with pytest.raises(AssertionError, match="rows from 0"):
        rolling[0:10]
    assert rolling._rows.nbytes <= (100 + 64) * 7 * 3


@pytest.mark.parametrize("model", ["clit", "lte"])
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_results_do_not_depend_on_it(plans, tmp_path, all_are_large, model, gray, suffix):
    image = Image.fromarray(photo(210, 33)).convert("L" if gray else "RGB")
    image.save(tmp_path / f"i.{suffix}")
    whole = read_image(tmp_path / f"i.{suffix}").rgb
    with load(plans[model], runtime="cpu", threads=1) as up:
        layout = Layout(tile=64, block=64)
        for size in (OutputSize(scale=2.3), OutputSize(fill=(200, 50))):
            upscale_file(up, tmp_path / f"i.{suffix}", tmp_path / "o.png", size, layout=layout,
                         force=True)  # fmt: skip
            job = size.job(up.renderer, whole.shape[:2])
            expected = up.renderer.prepare(job, layout=layout).array(whole)
            if gray:
                expected = expected.mean(axis=2, keepdims=True).repeat(3, axis=2)
            made = read_image(tmp_path / "o.png").rgb
            assert np.abs(made - expected.clip(0, 1) * 255).max() <= 0.51


def test_damage_is_found_while_rendering_and_leaves_no_file(plans, tmp_path, all_are_large):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (900, 40, 3), np.uint8)).save(tmp_path / "i.png")
    content = (tmp_path / "i.png").read_bytes()
    (tmp_path / "i.png").write_bytes(content[: len(content) * 9 // 10])
    with load(plans["liif"], runtime="cpu") as up, pytest.raises(ImageError, match="damaged"):
        upscale_file(up, tmp_path / "i.png", tmp_path / "o.png", OutputSize(scale=1.5))
    assert [path.name for path in tmp_path.iterdir()] == ["i.png"]


def test_what_needs_the_whole_image_is_held(tmp_path, all_are_large):
    turned = Image.fromarray(photo(20, 30))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    alpha = Image.fromarray(photo(20, 30))
    alpha.putalpha(100)
    alpha.save(tmp_path / "alpha.png")
    for name in ("turned.png", "alpha.png"):
        with open_image(tmp_path / name) as file:
            file.allow_rolling()
            assert isinstance(file.decode().rgb, np.ndarray)
