"""Tiled equals whole, whatever the cut."""

import numpy as np
import pytest
import torch
from PIL import Image

import clit_deploy
from clit_deploy.bundle import Plan
from clit_deploy.geometry import Span
from clit_deploy.models import load_checkpoint
from clit_deploy.scheduler import Layout, bilinear
from clit_deploy.stage import Block
from clit_deploy.tiling import smallest
from tests.helpers import photo


def render(plan, image, layout, **wish):
    with clit_deploy.Upscaler(plan, layout=layout) as up:
        return up.upscale(image, clip=False, **wish)


def smallest_tile(plan: Plan) -> int:
    return smallest(plan.manifest.encoder.halo, plan.manifest.margin)


@pytest.mark.parametrize(
    ("shape", "wish"),
    [
        ((61, 83), {"scale": 2.5}),
        ((40, 97), {"scale": 4}),
        ((47, 33), {"size": (203, 71)}),
        ((33, 45), {"scale": 9.7}),
        ((90, 12), {"scale": 1}),
    ],
)
def test_tiled_equals_whole(plan, shape, wish):
    image = photo(*shape)
    whole = render(plan, image, Layout(4096, 4096), **wish)
    for block in (256, 37):
        tiled = render(plan, image, Layout(smallest_tile(plan) + block % 3, block), **wish)
        assert np.abs(tiled - whole).max() <= 1e-5


def test_the_largest_cascade_tiles_as_well(plans):
    plan, image = Plan.open(plans["clit"]), photo(31, 36)
    whole = render(plan, image, Layout(4096, 4096), scale=18.5)
    tiled = render(plan, image, Layout(smallest_tile(plan), 50), scale=18.5)
    assert np.abs(tiled - whole).max() <= 1e-5


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 2), (5, 40)])
def test_images_smaller_than_a_tile_match_the_model(plans, shape):
    image = photo(*shape)
    for name in ("clit", "liif", "lte"):
        model = load_checkpoint(plans[name].with_suffix(".pth")).model.double()
        size = round(shape[0] * 5.3), round(shape[1] * 5.3)
        expected = model.render(torch.from_numpy(image / 255.0), size, 5.3).numpy()
        got = render(plans[name], image, None, scale=5.3)
        assert np.abs(got - expected).max() / max(expected.std(), 0.05) < 2e-4


def test_threads_change_nothing(plans):
    image = photo(30, 41)
    results = []
    for threads in (1, 3):
        with clit_deploy.load(plans["clit"], threads=threads) as up:
            results.append(up.upscale(image, scale=6))
    assert np.abs(results[0] - results[1]).max() <= 1e-6


def test_bilinear_is_the_usual_one():
    image = np.random.RandomState(0).rand(7, 9, 1).astype(np.float32)
    block = Block(Span(3, 20), Span(0, 31))
    got = bilinear(image, (23, 31), block)[..., 0]
    pillow = Image.fromarray(image[..., 0]).resize((31, 23), Image.Resampling.BILINEAR)
    assert np.abs(got - np.asarray(pillow)[3:20]).max() < 1e-6


def test_progress_rises_to_one(plans):
    seen = []
    with clit_deploy.Upscaler(plans["liif"], layout=Layout(64, 16)) as up:
        job = up.job(photo(20, 30), scale=2)
        rows = sum(len(strip) for strip in up.strips(job, up.forecast(job), seen.append))
    assert rows == 40
    assert seen == sorted(seen)
    assert seen[-1] == 1


@pytest.mark.gpu
def test_cuda_equals_cpu(plans):
    image = photo(30, 41)
    for path in plans.values():
        results = []
        for runtime in ("cpu", "cuda"):
            with clit_deploy.load(path, runtime=runtime) as up:
                results.append(up.upscale(image, scale=6, clip=False))
        assert np.abs(results[0] - results[1]).max() <= 1e-3
