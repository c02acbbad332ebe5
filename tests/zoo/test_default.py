"""The model that runs where none is named."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import clit_deploy
from clit_deploy.quality.evaluate import evaluate
from clit_deploy.zoo.named_models import default_model
from tests.helpers import DATA, ROOT, cli

EXAMPLE = ROOT / "examples" / "grapes.png"


def test_its_parity_check_passes_here():
    done = cli("verify", default_model().name)
    assert done.returncode == 0, done.stderr
    assert "PASS" in done.stdout
    assert f"clit-deploy run -e {default_model().name} " in done.stdout


def test_run_takes_it_where_no_plan_is_named_and_says_so_once(tmp_path):
    other = tmp_path / "other.png"
    Image.open(EXAMPLE).resize((20, 16)).save(other)
    small = tmp_path / "small.png"
    Image.open(EXAMPLE).resize((14, 18)).save(small)
    done = cli("run", small, other, "--scale", 12, "-o", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("the default model is used (clit)") == 1
    results = [json.loads(line)["results"][0] for line in done.stdout.splitlines()]
    # Images are shared by two workers, so either may be finished first.
    assert sorted((o["width"], o["height"]) for o in results) == [(168, 216), (240, 192)]


def test_load_takes_it_too():
    image = np.asarray(Image.open(EXAMPLE).convert("RGB"))[:20, :24]
    name = default_model().name
    with clit_deploy.load() as up, clit_deploy.load(name) as named:
        assert np.array_equal(up.upscale(image, scale=2.5), named.upscale(image, scale=2.5))


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "scale", "gain"), [("bird", 2, 3), ("bird", 4, 2), ("head", 8, 0.5)]
)
def test_it_beats_bicubic(name, scale, gain):
    with clit_deploy.load() as up:
        (score,) = evaluate(up, DATA / "benchmarks" / "Set5" / f"{name}.png", [scale])
    assert score.psnr > score.bicubic_psnr + gain
    assert score.ssim > score.bicubic_ssim
