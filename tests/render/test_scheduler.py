"""Tiled equals whole, whatever the cut."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

import clit_deploy
from clit_deploy.cli.report import describe, verification
from clit_deploy.errors import ParityError, SizeError
from clit_deploy.grid.geometry import Axis, Span
from clit_deploy.grid.tiling import smallest
from clit_deploy.models import load_checkpoint
from clit_deploy.plan.plan_file import Plan
from clit_deploy.quality.parity import check_tiled, tiling_image
from clit_deploy.quality.verify import verify_plan
from clit_deploy.render.bilinear import bilinear
from clit_deploy.render.layout import Block, Layout
from tests.helpers import photo, tiny_checkpoint, tiny_clit


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
    got = bilinear(image, (Axis(7, 23), Axis(9, 31)), block)[..., 0]
    pillow = Image.fromarray(image[..., 0]).resize((31, 23), Image.Resampling.BILINEAR)
    assert np.abs(got - np.asarray(pillow)[3:20]).max() < 1e-6


def test_progress_rises_to_one(plans):
    seen = []
    with clit_deploy.Upscaler(plans["liif"], layout=Layout(64, 16)) as up:
        image = photo(20, 30)
        rendering = up.renderer.prepare(up.renderer.job(image, scale=2))
        rows = sum(len(strip) for strip in rendering.strips(image, seen.append))
    assert rows == 40
    assert seen == sorted(seen)
    assert seen[-1] == 1


INEXACT = {
    "swinir": {
        "name": "swinir",
        "args": {"embed_dim": 16, "depths": [4, 4], "num_heads": [2, 2], "img_size": 16},
    },
    "rcan": {
        "name": "rcan",
        "args": {"n_resgroups": 1, "n_resblocks": 2, "n_feats": 8, "reduction": 4},
    },
}


@pytest.fixture(scope="module", params=["swinir", "rcan"])
def inexact(request, tmp_path_factory):
    """A plan whose encoder's tiles differ a little from the whole."""
    encoder = INEXACT[request.param]
    encoder["args"]["no_upsampling"] = True
    spec = tiny_clit(stages=2, encoder_spec=encoder)
    folder = tmp_path_factory.mktemp(request.param)
    return clit_deploy.export_checkpoint(tiny_checkpoint(folder, spec))


def test_the_error_of_tiling_is_measured_and_shown(inexact):
    plan = Plan.open(inexact)
    stored = plan.manifest.encoder.tiling
    assert 0 < stored.max_difference < 0.05
    image = tiling_image(plan)
    whole = render(plan, image, Layout(4096 // 8 * 8, 256), scale=stored.scale)
    tiled = render(plan, image, Layout(stored.tile, 64), scale=stored.scale)
    assert np.abs(tiled - whole).max() == pytest.approx(stored.max_difference, rel=0.05)
    shown = describe(inexact, plan.manifest)
    assert f"not exact: differs from whole by at most {stored.max_difference:.1e}" in shown
    checked = verify_plan(plan)
    assert f"{checked.tiled.max_difference:.1e}" in verification(checked)


def test_a_worse_tiling_than_at_the_export_is_refused(inexact):
    plan = Plan.open(inexact)
    stored = plan.manifest.encoder.tiling
    better = dataclasses.replace(stored, max_difference=stored.max_difference / 3)
    if stored.max_difference > 3e-5:
        with pytest.raises(ParityError, match="Tiled and whole differ"):
            check_tiled(stored, better)
    check_tiled(stored, stored)


def untied_places(image, output):
    """Outputs that no grid has half-way between two pixels: there the model's rounding decides."""
    centre = 2 * np.arange(output) + 1
    return np.flatnonzero(
        (centre * image % (2 * output) != 0) & (centre * 4 * image % (2 * output) != 0)
    )


@pytest.mark.parametrize("shape", [(8, 16), (11, 13), (3, 21), (1, 1)])
@pytest.mark.parametrize("wish", [{"scale": 2.7}, {"scale": 5.3}])
def test_sides_that_do_not_fit_are_mirrored_as_in_the_model(inexact, shape, wish):
    image = photo(*shape)
    got = render(inexact, image, None, **wish)
    model = load_checkpoint(inexact.with_suffix(".pth")).model.double()
    tensor = torch.from_numpy(image / 255.0)
    expected = model.render(tensor, got.shape[:2], wish["scale"]).numpy()
    untied = np.ix_(*(untied_places(i, o) for i, o in zip(shape, got.shape[:2], strict=True)))
    assert np.abs(got - expected)[untied].max() / max(expected.std(), 0.05) < 2e-4
    blocks = render(inexact, image, Layout(512, 9), **wish)
    assert np.abs(blocks - got).max() <= 1e-5


def test_unlike_factors_of_padded_sides_match_the_model(inexact):
    image, size = photo(9, 13), (10, 200)
    model = load_checkpoint(inexact.with_suffix(".pth")).model.double()
    expected = model.render(torch.from_numpy(image / 255.0), size).numpy()
    got = render(inexact, image, None, size=size)
    untied = np.ix_(*(untied_places(i, o) for i, o in zip((9, 13), size, strict=True)))
    assert np.abs(got - expected)[untied].max() / expected.std() < 2e-4


def test_a_picture_of_another_length_keeps_its_places(inexact):
    """Mirrored pixels lie beyond the picture; the output is not stretched over them."""
    ramp = np.broadcast_to(np.linspace(0, 1, 21, dtype=np.float32)[None, :, None], (9, 21, 3))
    model = load_checkpoint(inexact.with_suffix(".pth")).model
    assert model.bilinear_base
    with clit_deploy.load(inexact) as up:
        coords = np.stack([np.zeros(50), np.linspace(-0.9, 0.9, 50)], axis=-1)
        whole = up.upscale(ramp, scale=4, clip=False)
        some = up.query(ramp, coords, (2 / 36, 2 / 84), scale=4)
    assert whole.shape == (36, 84, 3)
    at = ((coords[:, 1] + 1) / 2 * 84).astype(int)
    assert np.abs(some - whole[18, at]).max() < 0.2


def test_a_tile_that_cuts_windows_is_refused(inexact):
    if Plan.open(inexact).manifest.encoder.multiple == 1:
        pytest.skip("the encoder has no windows")
    with pytest.raises(SizeError, match="multiple of 8"):
        render(inexact, photo(200, 200), Layout(124, 64), scale=2)
