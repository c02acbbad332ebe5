"""A CLIT that begins as a LIIF."""

from __future__ import annotations

import dataclasses
import math
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from clit_deploy.errors import MissingFileError, TrainingError
from clit_deploy.grid.geometry import Span
from clit_deploy.models import build_model, load_checkpoint
from clit_deploy.models.posenc import Sinusoid
from clit_deploy.training.answer import answer
from clit_deploy.training.batches import draw
from clit_deploy.training.from_liif import begin_as_liif, check_begins
from clit_deploy.training.loop import train
from clit_deploy.training.patch import Patch
from clit_deploy.training.place_heads import fit_place_heads
from clit_deploy.training.start import first_model
from clit_deploy.training.training_config import Config, check_config, read_config
from tests.helpers import (
    ROOT,
    mlp,
    photo,
    posenc,
    save_checkpoint,
    tiny_checkpoint,
    tiny_clit,
    tiny_encoder,
    tiny_liif,
)

LOW = 16


def clit_like_liif(**changes):
    """A tiny CLIT with room for a tiny LIIF: two heads for its features, two for places."""
    fits = {
        "imnet_spec": mlp(27, act="relu"),
        "pb_spec": posenc("sinusoid", posenc_scale=4, enc_dims=64),
    }
    return tiny_clit(**{"stages": 1, "r": 1, **fits, **changes})


def crops(count=4):
    images = [torch.from_numpy(photo(LOW, LOW, seed=k)).permute(2, 0, 1) for k in range(count)]
    return torch.stack(images).float() / 127.5 - 1


def inner(scale):
    """A patch without the outermost grid cells: outside the image there are no colors to read."""
    size = round(LOW * scale)
    span = Span(math.ceil(2 * scale), size - math.ceil(2 * scale))
    return Patch(LOW, size, (scale,), span, span)


def liif_of(seed=0, **changes):
    """A LIIF whose features show the colors, as those of a trained encoder do."""
    torch.manual_seed(seed)
    model = build_model(tiny_liif(**changes)).eval()
    with torch.no_grad():
        for weight in model.encoder.body.parameters():
            weight *= 0.05
    return model


def difference(a, b):
    return float((a - b).pow(2).mean().sqrt())


@pytest.mark.parametrize("scale", [1.0, 2.0, 3.7])
@pytest.mark.parametrize(("r", "heads"), [(1, 4), (2, 4)])
@torch.no_grad()
def test_its_first_stage_answers_as_the_mlp_of_liif_does_for_the_nearest_pixel(scale, r, heads):
    source = liif_of()
    torch.manual_seed(1)
    model = build_model(clit_like_liif(r=r, head=heads)).eval()
    patch = inner(scale)
    before = answer(model, crops(), patch)
    begin_as_liif(model, source, [crops(8)])
    after = answer(model, crops(), patch)
    source.local_ensemble = False
    wanted = answer(source, crops(), patch)
    assert difference(after, wanted) < 0.01 < 0.1 < difference(before, wanted)


@torch.no_grad()
def test_a_liif_without_cells_and_layers_of_other_widths():
    source = liif_of(cell_decode=False, imnet_spec=mlp(16, hidden_list=[20, 12, 16]))
    torch.manual_seed(1)
    wide = mlp(act="relu", hidden_list=[24, 30, 19])
    model = build_model(clit_like_liif(imnet_spec=wide)).eval()
    begin_as_liif(model, source, [crops(8)])
    source.local_ensemble = False
    assert difference(*(answer(m, crops(), inner(2.5)) for m in (model, source))) < 0.01


@pytest.mark.parametrize(("heads", "r"), [(1, 1), (2, 1), (3, 2), (5, 1)])
def test_offset_and_bilinear_weights_are_read_from_attention_to_places(heads, r):
    found = fit_place_heads(Sinusoid(1, 4, 64, damped=False).frequencies, heads, r)
    bilinear, offset = found.errors
    assert bilinear < 0.01
    assert offset < 0.03
    assert found.waves.shape == (heads, 32)
    assert found.bilinear.shape == (heads, (2 * r + 1) ** 2)
    assert found.offset.shape == (heads, (2 * r + 1) ** 2, 2)


@pytest.mark.parametrize(
    ("changes", "source", "message"),
    [
        ({"imnet_spec": mlp(act="gelu")}, tiny_liif(), "hidden layers with ReLU"),
        ({"imnet_spec": mlp(26, act="relu")}, tiny_liif(), r"at least \[27, 27\]"),
        ({"pb_spec": None}, tiny_liif(), "sinusoid"),
        ({"base_dim": 8, "head": 2}, tiny_liif(), "leave at least one"),
        ({"head": 8}, tiny_liif(), "channels or more"),
        ({"encoder_spec": tiny_encoder(2)}, tiny_liif(), "encoder"),
        ({"encoder_spec": tiny_encoder(channels=4)}, tiny_liif(), "encoder"),
        ({}, tiny_clit(), "not a LIIF"),
        ({}, tiny_liif(feat_unfold=False), "not a LIIF with unfolded"),
    ],
)
def test_what_does_not_fit_is_refused(changes, source, message):
    with pytest.raises(TrainingError, match=message):
        check_begins(build_model(clit_like_liif(**changes)), build_model(source), "x.pth")


def test_only_a_clit_begins_as_another_model():
    with pytest.raises(TrainingError, match="only a CLIT"):
        check_begins(build_model(tiny_liif()), build_model(tiny_liif()), "x.pth")


def test_the_recipe_has_room_for_the_official_liif(tmp_path):
    (tmp_path / "edsr-baseline-liif.pth").touch()
    path = shutil.copy(ROOT / "train" / "clit.toml", tmp_path)
    recipe = read_config(Path(path))
    encoder = {"name": "edsr-baseline", "args": {"no_upsampling": True}}
    official = tiny_liif(encoder_spec=encoder, imnet_spec=mlp(hidden_list=[256] * 4))
    check_begins(build_model(recipe.spec(3)), build_model(official), "edsr-baseline-liif.pth")


@pytest.fixture
def recipe(tmp_path):
    args = {k: v for k, v in clit_like_liif()["args"].items() if k not in ("imnet_num", "conv_num")}
    source = tmp_path / "liif.pth"
    save_checkpoint(source, tiny_liif(), liif_of().state_dict())
    return Config(
        {"name": "clit", "args": args},
        stages=2,
        steps=2,
        interval=1,
        join=0.0,
        warmup=1,
        lr=1e-9,
        encoder_rate=0.0,
        batch=2,
        crop=12,
        cells=6,
        most=24,
        factors=(3.0, 2.0),
        shares=(0.5, 0.5),
        whole=1.0,
        validation=0.3,
        begin_as=str(source),
    )


def test_a_run_begins_as_the_liif_of_its_recipe(recipe, tmp_path):
    (tmp_path / "photos").mkdir()
    for k in range(4):
        Image.fromarray(photo(96, 100, seed=k)).save(tmp_path / "photos" / f"{k}_a.png")
    train(recipe, tmp_path / "photos", tmp_path / "run", device="cpu", threads=1)
    model = load_checkpoint(tmp_path / "run" / "model.pth").model.eval()
    source = load_checkpoint(tmp_path / "liif.pth").model.eval()
    for key, value in source.encoder.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[key], value), key
    source.local_ensemble = False
    with torch.no_grad():
        found, wanted = (answer(m, crops(), inner(2.0)) for m in (model, source))
    assert difference(found, wanted) < 0.01


def test_a_source_that_does_not_fit_or_is_not_there_is_refused_at_once(recipe, tmp_path):
    other = tiny_checkpoint(tmp_path, tiny_clit(), "clit.pth")
    with pytest.raises(TrainingError, match=r"cannot begin as clit\.pth: it is not a LIIF"):
        first_model(dataclasses.replace(recipe, begin_as=str(other)))
    with pytest.raises(MissingFileError, match="begin_as"):
        check_config(dataclasses.replace(recipe, begin_as=str(tmp_path / "no.pth")), "recipe")


def test_whole_factors_are_drawn_as_often_as_the_recipe_says(recipe):
    photos = [photo(96, 100, seed=0).transpose(2, 0, 1)]
    half = dataclasses.replace(recipe, whole=0.5, shares=(1.0, 0.0))
    drawn = [draw(photos, half, 2, step, 0).patch.factors for step in range(200)]
    whole = [factor for (factor,) in drawn if factor in (2.0, 3.0)]
    assert 70 < len(whole) < 130
    assert {2.0, 3.0} == set(whole)
    none = dataclasses.replace(recipe, whole=0.0, shares=(1.0, 0.0))
    assert not any(draw(photos, none, 2, s, 0).patch.factors[0] in (2.0, 3.0) for s in range(50))
