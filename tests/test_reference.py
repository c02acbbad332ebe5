"""Plans against the outputs of the published code, from a checkpoint to pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import clit_deploy
from clit_deploy.models import build_model
from clit_deploy.render.layout import Layout
from tests.helpers import REFERENCE_CASES, Case, ruled_weights

pytestmark = pytest.mark.data

TOLERANCE = 2e-4


SLOW = {"clit1-swinir-x4", "clit3-swinir-x24"}
"""An encoder that takes a minute to export, and that another case has as well."""


def params():
    return [
        pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name
        for name in REFERENCE_CASES
    ]


@pytest.fixture(scope="module", params=params())
def case(request):
    return Case.read(request.param)


@pytest.fixture(scope="module")
def exported(case, tmp_path_factory):
    folder = tmp_path_factory.mktemp(case.name)
    return clit_deploy.export_checkpoint(case.write_checkpoint(folder / "model.pth"))


def test_the_plan_computes_what_the_published_code_does(case, exported):
    with clit_deploy.load(exported) as up:
        whole = up.upscale(case.lr, clip=False, **case.request())
    assert case.error(whole) <= TOLERANCE
    for block in (16, 7):
        with clit_deploy.Upscaler(exported, layout=Layout(4096, block)) as up:
            cut = up.upscale(case.lr, clip=False, **case.request())
        assert case.error(cut) <= TOLERANCE
        assert np.abs(cut - whole).max() <= 1e-5


def test_queries_on_the_grid_equal_the_upscaled_image(case, exported):
    height, width = case.rgb.shape[:2]
    axes = [(np.arange(side) * 2 + 1) / side - 1 for side in (height, width)]
    coords = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    some = np.random.RandomState(0).permutation(len(coords))[:2000]
    with clit_deploy.load(exported) as up:
        whole = up.upscale(case.lr, clip=False, **case.request()).reshape(-1, 3)
        got = up.query(case.lr, coords[some], (2 / height, 2 / width), scale=case.scale)
    assert np.abs(got - whole[some]).max() <= 1e-5


@pytest.mark.parametrize(
    "name", ["clit2-tiny-x9.7", "liif-edsr-aniso", "lit-tiny-x4", "lte-swinir-x2"]
)
def test_the_torch_models_are_the_published_ones(name):
    case = Case.read(name)
    model = build_model(case.spec).double()
    model.load_state_dict(ruled_weights(model.state_dict(), case.seed, case.gain))
    image = torch.from_numpy(case.lr / 255.0)
    got = model.render(image, case.rgb.shape[:2], case.scale, batch=1000).numpy()
    assert case.error(got) < 1e-6
