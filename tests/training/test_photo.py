"""Degraded input: JPEG against Pillow's, and the shares of what happens."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from clit_deploy.images.resample import resize_bicubic
from clit_deploy.training.jpeg import jpeg
from clit_deploy.training.photo import CLEAN, JPEG_ALONE, Faults, blurred, degraded, reduced
from tests.helpers import ROOT

PICTURE = ROOT / "clit_deploy" / "zoo" / "grapes.png"


@pytest.fixture(scope="module")
def picture():
    return np.asarray(Image.open(PICTURE).convert("RGB"))


def tensor(pixels):
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float()


def coded(pixels, quality, subsampling):
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(held))


@pytest.mark.parametrize("quality", [30, 40, 70, 95])
@pytest.mark.parametrize("subsampled", [False, True])
def test_jpeg_is_that_of_pillow(picture, quality, subsampled):
    pixels = picture[:101, :90]
    expected = tensor(coded(pixels, quality, 2 if subsampled else 0))
    found = jpeg(tensor(pixels), torch.tensor([float(quality)]), torch.tensor([subsampled]), (0, 0))
    difference = (found - expected).abs()
    # libjpeg computes with integers: a coefficient half-way between two steps may take the other,
    # and chroma that it reduces and enlarges differs by a grey level.
    assert difference.mean() < (0.8 if subsampled else 0.4)
    assert (difference > 1).float().mean() < 0.15
    assert (expected - tensor(pixels)).abs().mean() > 2 * difference.mean()


def test_the_grid_of_blocks_may_begin_anywhere(picture):
    whole = picture[:96, :96]
    expected = tensor(coded(whole, 50, 2))[..., 5:85, 11:91]
    found = jpeg(tensor(whole[5:85, 11:91]), torch.tensor([50.0]), torch.tensor([True]), (5, 11))
    inner = (slice(None), slice(None), slice(11, 59), slice(5, 69))  # blocks that are whole
    assert (found[inner] - expected[inner]).abs().mean() < 0.5
    other = jpeg(tensor(whole[5:85, 11:91]), torch.tensor([50.0]), torch.tensor([True]), (0, 0))
    assert (other[inner] - expected[inner]).abs().mean() > 1.5


def test_each_picture_of_a_batch_has_its_own_quality(picture):
    two = tensor(picture[:64, :64]).expand(2, -1, -1, -1)
    both = jpeg(two, torch.tensor([30.0, 90.0]), torch.tensor([True, False]), (3, 4))
    for k, (quality, subsampled) in enumerate(((30.0, True), (90.0, False))):
        alone = jpeg(two[:1], torch.tensor([quality]), torch.tensor([subsampled]), (3, 4))
        assert torch.equal(both[k], alone[0])


def test_reduction_is_that_of_pillow(picture):
    found = reduced(tensor(picture), 37)[0].permute(1, 2, 0).numpy()
    difference = np.abs(found - resize_bicubic(picture, (37, 37)))  # Pillow rounds between axes
    assert difference.max() <= 2
    assert difference.mean() < 0.2


def test_blur_keeps_the_mean_and_spreads_a_point():
    point = torch.zeros(1, 1, 41, 41)
    point[..., 20, 20] = 1
    soft = blurred(point, torch.tensor([[2.0, 1.0]]))
    at = torch.arange(41.0) - 20
    assert float(soft.sum()) == pytest.approx(1, abs=1e-4)
    assert float((soft[0, 0].sum(1) * at**2).sum()) == pytest.approx(4, rel=0.02)
    assert float((soft[0, 0].sum(0) * at**2).sum()) == pytest.approx(1, rel=0.02)


def test_faults_come_from_the_seed_and_a_third_is_clean(picture):
    large = tensor(picture).expand(16, -1, -1, -1)
    faults = [Faults.draw(16, np.random.default_rng(k)) for k in (3, 3, 4)]
    first, again, other = (degraded(large, 40, each) for each in faults)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(first, first.round().clamp(0, 255))
    plain = reduced(large, 40)
    clean = faults[0].clean
    assert clean.any()
    assert torch.equal(first[clean], plain[clean])
    compressed = faults[0].jpeg_alone
    assert compressed.any()
    assert (first[compressed] != plain[compressed]).any()
    many = Faults.draw(4000, np.random.default_rng(0))
    assert float(many.clean.float().mean()) == pytest.approx(CLEAN, abs=0.03)
    assert float(many.jpeg_alone.float().mean()) == pytest.approx(JPEG_ALONE, abs=0.03)
    assert float((many.noise < 2).float().mean()) > 0.4  # often near zero
    assert float(many.quality.min()) >= 30
    assert float(many.quality.max()) <= 95
