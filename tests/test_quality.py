"""The official LIIF weights score what the published code scores."""

import json

import numpy as np
import pytest

import clit_deploy
from benchmarks.quality import low_and_high, psnr
from tests.helpers import DATA

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    target = tmp_path_factory.mktemp("liif") / "liif.plan"
    checkpoint = DATA / "checkpoints" / "edsr-baseline-liif.pth"
    with clit_deploy.load(clit_deploy.export_checkpoint(checkpoint, target)) as up:
        yield up


@pytest.mark.parametrize(
    ("scale", "name"),
    [(2, "butterfly.png"), (3, "bird.png"), (4, "woman.png"), (6, "head.png"), (8, "bird.png")],
)
def test_set5_within_a_hundredth_of_a_decibel(official, scale, name):
    published = json.loads((DATA / "reference" / "liif-set5-psnr.json").read_text())
    low, high = low_and_high(DATA / "benchmarks" / "Set5" / name, scale)
    ours = psnr(official.upscale(low, scale=scale), high, scale)
    assert ours == pytest.approx(published[str(scale)][name][0], abs=0.01)


def test_verify_finds_tiles_equal_on_a_photograph(official):
    from clit_deploy.verify import verify_plan

    image = DATA / "benchmarks" / "Set5" / "butterfly.png"
    result = verify_plan(official.plan, image)
    assert result.tiled.image == (164, 164)
    assert result.tiled.max_difference <= 1e-5
    assert np.all([case.relative_error < 1e-4 for case in result.cases])
