"""What a query looks at, from the deployed graphs."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import clit_deploy
from clit_deploy.errors import CoordinateError, UnsupportedModelError
from clit_deploy.grid.cascade import stage_grids
from clit_deploy.models import load_checkpoint
from clit_deploy.models.implicit_model import pixel_centers
from tests.helpers import cli, photo

PLACES = [(0, 0), (13, 40), (29, 7), (61, 84)]


@pytest.mark.parametrize("name", ["clit", "clit-r1", "clit-ipe", "clit-learn", "lit", "lit-learn"])
@pytest.mark.parametrize("at", PLACES)
def test_attention_is_the_model_s_and_sums_to_one(plans, name, at):
    image, size = photo(9, 12), (62, 85)
    model = load_checkpoint(plans[name].with_suffix(".pth")).model.double()
    with clit_deploy.load(plans[name]) as up:
        maps = up.attention(image, at, size=size)
    inp = torch.from_numpy(image / 127.5 - 1).permute(2, 0, 1)[None]
    coords = pixel_centers(size, inp)[at[0], at[1]][None]
    ratio = max(62 / 9, 85 / 12)
    stages = stage_grids((9, 12), (9, 12), size, ratio, model.stages)
    assert len(maps) == len(stages)
    for stage, (stage_grid, got) in enumerate(zip(stages, maps, strict=True)):
        side = 2 * model.r + 1
        assert got.shape == (model.head, side, side)
        assert np.allclose(got.sum(axis=(1, 2)), 1, atol=1e-5)
        with torch.no_grad():
            features = model.stage_maps(model.encoder(inp), stage_grid, stage)
            cell = torch.tensor([2 / 62, 2 / 85], dtype=torch.float64) * torch.tensor(
                stage_grid.size
            )
            _, shares = model.attend(features, coords, cell)
        expected = shares[0].T.reshape(got.shape).numpy()
        assert np.abs(got - expected).max() < 1e-5


def test_a_figure_is_drawn(plans, tmp_path):
    picture, figure = tmp_path / "photo.png", tmp_path / "maps.png"
    Image.fromarray(photo(20, 24)).save(picture)
    done = cli(
        "attention", picture, "-e", plans["clit"], "--at", "30,50", "--scale", 18, "-o", figure,
        "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    stages = np.array(json.loads(done.stdout)["stages"])
    assert stages.shape == (3, 4, 7, 7)
    drawn = np.asarray(Image.open(figure).convert("RGB"))
    assert drawn.shape[1] > 5 * 150  # the window and four heads
    assert drawn.shape[0] > 3 * 150  # three stages
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 100


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (["--at", "96,3", "--scale", 4], "There is no output pixel", 1),
        (["--at", "-1,3", "--scale", 4], "There is no output pixel", 1),
        (["--at", "3", "--scale", 4], "write it like 120,80", 2),
        (["--at=--5,3", "--scale", 4], "write it like 120,80", 2),
        (["--at", "3,3"], "either --scale or --size", 2),
        (["--at", "3,3", "--scale", "2,5"], "'2,5' is more than one scale", 2),
    ],
)
def test_bad_places_are_refused(plans, tmp_path, arguments, words, code):
    picture = tmp_path / "photo.png"
    Image.fromarray(photo(20, 24)).save(picture)
    fixed = ["-e", plans["clit"], "-o", tmp_path / "m.png", "--runtime", "cpu"]
    done = cli("attention", picture, *fixed, *arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "m.png").exists()


def test_families_without_attention_say_so(plans):
    with (
        clit_deploy.load(plans["liif"]) as up,
        pytest.raises(UnsupportedModelError, match="'liif', which has no attention"),
    ):
        up.attention(photo(8, 8), (0, 0), scale=2)
    with clit_deploy.load(plans["clit"]) as up, pytest.raises(CoordinateError):
        up.attention(photo(8, 8), (0, 16), scale=2)
    for at in (5, None, ("1", "2"), (1.5, 2), (1, 2, 3)):
        with clit_deploy.load(plans["clit"]) as up, pytest.raises(CoordinateError, match="a row"):
            up.attention(photo(8, 8), at, scale=2)
