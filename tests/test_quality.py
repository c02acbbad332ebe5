"""The official LIIF weights score what the published code scores."""

import json

import numpy as np
import pytest

import clit_deploy
from clit_deploy.quality.evaluate import evaluate
from tests.helpers import DATA

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    target = tmp_path_factory.mktemp("liif") / "liif.plan"
    checkpoint = DATA / "checkpoints" / "edsr-baseline-liif.pth"
    with clit_deploy.load(clit_deploy.export_checkpoint(checkpoint, target)) as up:
        yield up


def one_picture(name, folder):
    (folder / name).symlink_to(DATA / "benchmarks" / "Set5" / name)
    return folder


@pytest.mark.parametrize(
    ("scale", "name"),
    [(2, "butterfly.png"), (3, "bird.png"), (4, "woman.png"), (6, "head.png"), (8, "bird.png")],
)
def test_set5_within_a_hundredth_of_a_decibel(official, scale, name, tmp_path):
    published = json.loads((DATA / "reference" / "liif-set5-psnr.json").read_text())
    (score,) = evaluate(official, one_picture(name, tmp_path), [scale])
    assert score.psnr == pytest.approx(published[str(scale)][name][0], abs=0.01)
    assert score.bicubic_psnr == pytest.approx(published[str(scale)][name][1], abs=0.001)


def test_verify_finds_tiles_equal_on_a_photograph(official):
    from clit_deploy.quality.verify import verify_plan

    image = DATA / "benchmarks" / "Set5" / "butterfly.png"
    result = verify_plan(official.plan, image)
    assert result.tiled.image == (164, 164)
    assert result.tiled.max_difference <= 1e-5
    assert np.all([case.relative_error < 1e-4 for case in result.cases])
