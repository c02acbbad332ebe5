"""PSNR and SSIM by the protocol of the field."""

import json
import math

import numpy as np
import pytest
from PIL import Image

import clit_deploy
from clit_deploy.errors import ImageError, MissingFileError, OptionError, SizeError
from clit_deploy.quality.evaluate import evaluate, low_and_high
from clit_deploy.quality.metrics import psnr, ssim
from tests.helpers import cli, photo


@pytest.fixture
def folder(tmp_path):
    for k, shape in enumerate([(50, 61), (47, 48)]):
        Image.fromarray(photo(*shape, seed=k)).save(tmp_path / f"{k}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_an_output_that_is_no_number_has_no_decibels():
    truth = np.zeros((4, 4, 1))
    assert psnr(truth, truth) == math.inf
    assert math.isnan(psnr(np.full_like(truth, np.nan), truth))


def test_the_crop_is_a_multiple_of_the_scale(folder):
    low, high = low_and_high(folder / "0.png", 3)
    assert (low.shape, high.shape) == ((16, 20, 3), (48, 60, 3))
    low, high = low_and_high(folder / "0.png", 2.4)
    assert (low.shape, high.shape) == ((20, 25, 3), (48, 60, 3))
    assert np.array_equal(high, photo(50, 61)[:48, :60])


def test_psnr_of_a_known_error():
    truth = np.random.RandomState(0).rand(20, 20, 1)
    assert psnr(truth + 0.1, truth) == pytest.approx(20)
    assert psnr(truth, truth) == math.inf


def test_ssim_is_one_for_equals_and_falls_with_noise():
    rng = np.random.RandomState(0)
    truth = photo(40, 50).astype(float)[..., :1] / 255
    assert ssim(truth, truth) == pytest.approx(1)
    noisy = [ssim(truth + s * rng.standard_normal(truth.shape), truth) for s in (0.02, 0.1, 0.4)]
    assert 1 > noisy[0] > noisy[1] > noisy[2] > 0


def test_ssim_of_one_window_by_its_definition():
    """For 11x11 pixels there is one window: weighted means, variances and covariance."""
    rng = np.random.RandomState(1)
    a, b = rng.rand(2, 11, 11)
    at = np.arange(11) - 5
    w = np.exp(-(at[:, None] ** 2 + at[None] ** 2) / (2 * 1.5**2))
    w /= w.sum()
    ma, mb = (w * a).sum(), (w * b).sum()
    va, vb, cov = (
        (w * (a - ma) ** 2).sum(),
        (w * (b - mb) ** 2).sum(),
        (w * (a - ma) * (b - mb)).sum(),
    )
    expected = (2 * ma * mb + 1e-4) * (2 * cov + 9e-4)
    expected /= (ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4)
    assert ssim(a[..., None], b[..., None]) == pytest.approx(expected)


def test_bicubic_is_pillow_s_and_the_border_counts(plans, folder):
    with clit_deploy.load(plans["liif"]) as up:
        scores = evaluate(up, folder, [2, 2.4])
        wide = evaluate(up, folder, [2], border=0)
        rgb = evaluate(up, folder, [2], luminance=False)
    assert [(s.image, s.scale) for s in scores] == [
        ("0.png", 2), ("0.png", 2.4), ("1.png", 2), ("1.png", 2.4),
    ]  # fmt: skip
    low, high = low_and_high(folder / "0.png", 2)
    big = Image.fromarray(low).resize(high.shape[1::-1], Image.Resampling.BICUBIC)
    error = (np.asarray(big) / 255 - high / 255) @ (np.array([65.738, 129.057, 25.064]) / 256)
    expected = -10 * math.log10((error[2:-2, 2:-2] ** 2).mean())
    assert scores[0].bicubic_psnr == pytest.approx(expected)
    assert wide[0].bicubic_psnr != scores[0].bicubic_psnr
    assert rgb[0].bicubic_psnr != scores[0].bicubic_psnr


def test_the_command_prints_a_table_and_json(plans, folder):
    done = cli("evaluate", "-e", plans["liif"], "--images", folder, "--scale", "2,3")
    assert done.returncode == 0, done.stderr
    assert "| x3 |" in done.stdout
    done = cli("evaluate", "-e", plans["liif"], "--images", folder, "--scale", "2", "--json")
    scores = json.loads(done.stdout)["scores"]
    assert len(scores) == 2
    assert scores[0]["bicubic_psnr"] > 10


def test_invalid_options_are_refused(plans, folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with clit_deploy.load(plans["liif"]) as up:
        with pytest.raises(MissingFileError, match="contains no images"):
            evaluate(up, tmp_path / "empty", [2])
        with pytest.raises(OptionError, match="1 to 64"):
            evaluate(up, folder, [0.5])
        with pytest.raises(SizeError, match="border"):
            evaluate(up, folder, [2], border=20)
        with pytest.raises(ImageError, match="smaller than the scale"):
            evaluate(up, folder, [60])


def test_compression_costs_the_plan_and_bicubic_alike(folder, plans):
    with clit_deploy.load(plans["liif"]) as up:
        (clean, *_) = evaluate(up, folder, [2])
        (good, *_) = evaluate(up, folder, [2], jpeg=95)
        (bad, *_) = evaluate(up, folder, [2], jpeg=10)
        with pytest.raises(OptionError, match="JPEG quality is 0"):
            evaluate(up, folder, [2], jpeg=0)
    assert clean.bicubic_psnr > good.bicubic_psnr > bad.bicubic_psnr
    assert len({clean.psnr, good.psnr, bad.psnr}) == 3
