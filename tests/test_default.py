"""The model that ships with the package."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import clit_deploy
from clit_deploy.models import load_checkpoint
from clit_deploy.plan.plan_file import Plan
from clit_deploy.quality.evaluate import evaluate
from clit_deploy.upscaler import DEFAULT
from tests.helpers import DATA, ROOT, cli

EXAMPLE = ROOT / "examples" / "grapes.png"


def test_it_is_small_and_whole():
    assert DEFAULT.stat().st_size <= 8_000_000
    plan = Plan.open(DEFAULT)
    assert len(plan.manifest.stages) == 3
    assert plan.manifest.half_weights
    for member in plan.manifest.digests:
        plan.read(member)
    source = ROOT / "train" / "clit-default.pth"
    assert source.stat().st_size <= 10_000_000
    assert load_checkpoint(source).sha256 == plan.manifest.source.sha256


def test_its_proof_holds_here():
    done = cli("verify", DEFAULT)
    assert done.returncode == 0, done.stderr


def test_run_takes_it_where_no_plan_is_named_and_says_so_once(tmp_path):
    other = tmp_path / "other.png"
    Image.open(EXAMPLE).resize((20, 16)).save(other)
    small = tmp_path / "small.png"
    Image.open(EXAMPLE).resize((14, 18)).save(small)
    done = cli("run", small, other, "--scale", 12, "-o", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("the default model is used") == 1
    assert [tuple(o["size"]) for o in json.loads(done.stdout)] == [(216, 168), (192, 240)]


def test_load_takes_it_too():
    image = np.asarray(Image.open(EXAMPLE).convert("RGB"))[:20, :24]
    with clit_deploy.load() as up, clit_deploy.load(DEFAULT) as named:
        assert np.array_equal(up.upscale(image, scale=2.5), named.upscale(image, scale=2.5))


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "scale", "gain"), [("bird", 2, 2), ("bird", 4, 1.5), ("head", 8, 0)]
)
def test_it_beats_bicubic(tmp_path, name, scale, gain):
    (tmp_path / f"{name}.png").symlink_to(DATA / "benchmarks" / "Set5" / f"{name}.png")
    with clit_deploy.load() as up:
        (score,) = evaluate(up, tmp_path, [scale])
    assert score.psnr > score.bicubic_psnr + gain
    assert score.ssim > score.bicubic_ssim
