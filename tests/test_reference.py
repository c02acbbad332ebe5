"""Against the outputs of the published code, from a checkpoint to pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import clit_deploy
from clit_deploy.bundle import Plan
from clit_deploy.config import RuntimeName
from clit_deploy.geometry import Span
from clit_deploy.models import build_model
from clit_deploy.points import PointDecoder
from clit_deploy.runtimes.ort import open_runtime
from clit_deploy.scheduler import Layout, bilinear
from clit_deploy.stage import Block
from tests.helpers import REFERENCE_CASES, Case, ruled_weights

pytestmark = pytest.mark.data

TOLERANCE = 2e-4


@pytest.fixture(scope="module", params=REFERENCE_CASES)
def case(request):
    return Case.read(request.param)


@pytest.fixture(scope="module")
def exported(case, tmp_path_factory):
    folder = tmp_path_factory.mktemp(case.name)
    return clit_deploy.export_checkpoint(case.write_checkpoint(folder / "model.pth"))


def test_the_plan_computes_what_the_published_code_does(case, exported):
    with clit_deploy.load(exported) as up:
        whole = up.upscale(case.lr, clip=False, **case.wish())
    assert case.error(whole) <= TOLERANCE
    for block in (16, 7):
        with clit_deploy.Upscaler(exported, layout=Layout(4096, block)) as up:
            cut = up.upscale(case.lr, clip=False, **case.wish())
        assert case.error(cut) <= TOLERANCE
        assert np.abs(cut - whole).max() <= 1e-5


def test_the_point_decoder_agrees(case, exported):
    plan = Plan.open(exported)
    height, width = case.rgb.shape[:2]
    image = (case.lr / np.float32(255)).astype(np.float32)
    axes = [(np.arange(side) * 2 + 1) / side - 1 for side in (height, width)]
    coords = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    some = np.random.RandomState(0).permutation(len(coords))[:2000]
    ratio = max(height / case.lr.shape[0], width / case.lr.shape[1])
    points = PointDecoder(plan, open_runtime(RuntimeName.CPU, 2), batch=500)
    got = points.residuals(image, coords[some], (height, width), case.scale or ratio)
    if plan.manifest.bilinear_base:
        base = bilinear(image, (height, width), Block(Span(0, height), Span(0, width)))
        got = got + base.reshape(-1, 3)[some]
    tied = case.rows_tied[some // width] | case.cols_tied[some % width]
    difference = np.abs(got - case.rgb.reshape(-1, 3)[some])[~tied]
    # Coordinates are float32 here, and frequencies of the encoding reach 1023.
    assert difference.max() / case.rgb.std() <= 20 * TOLERANCE


@pytest.mark.parametrize("name", ["clit2-tiny-x9.7", "liif-edsr-aniso"])
def test_the_torch_models_are_the_published_ones(name):
    case = Case.read(name)
    model = build_model(case.spec).double()
    model.load_state_dict(ruled_weights(model.state_dict(), case.seed, case.gain))
    image = torch.from_numpy(case.lr / 255.0)
    got = model.render(image, case.rgb.shape[:2], case.scale, batch=1000).numpy()
    assert case.error(got) < 1e-6
