"""Training: configurations, data, the growing cascade, and runs that are stopped."""

from __future__ import annotations

import csv
import dataclasses
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import clit_deploy
from clit_deploy.errors import CheckpointError, MissingFileError, TrainingError
from clit_deploy.models import build_model, load_checkpoint
from clit_deploy.training import loop
from clit_deploy.training.data import draw, read_photos
from clit_deploy.training.loop import train
from clit_deploy.training.state import grown
from clit_deploy.training.training_config import Config, TrainingPhase, read_config
from tests.helpers import ROOT, cli, photo, tiny_checkpoint, tiny_clit

TOML = """
seed = 3
interval = 2
validation = 0.3
[model]
name = "clit"
[model.args]
base_dim = 8
head = 2
r = 1
[model.args.encoder_spec]
name = "edsr-baseline"
args = { no_upsampling = true, n_resblocks = 1, n_feats = 8 }
[model.args.imnet_spec]
name = "mlp"
args = { out_dim = 3, hidden_list = [12, 12], act = "gelu" }
[[phase]]
stages = 1
steps = 4
lr = 1e-3
batch = 2
crop = 12
queries = 40
[[phase]]
stages = 2
steps = 4
lr = 1e-3
decay_every = 2
batch = 2
crop = 12
queries = 40
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Crops of four photographs."""
    path = tmp_path_factory.mktemp("photos")
    for k in range(8):
        Image.fromarray(photo(96, 100, seed=k)).save(path / f"{k // 2:03d}_crop_{k % 2}.png")
    return path


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(TOML)
    return read_config(path)


def weights(path):
    return torch.load(path, weights_only=True)["model"]["sd"]


class Killed(BaseException):
    """As sudden as a signal."""


def test_train_export_run(folder, tmp_path):
    config, run = tmp_path / "tiny.toml", tmp_path / "run"
    config.write_text(TOML.replace("queries = 40", "queries = 40\nema = 0.9"))
    done = cli("train", config, "--images", folder, "-o", run, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    with (run / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(int(r["phase"]), int(r["step"])) for r in rows] == [(1, 2), (1, 4), (2, 2), (2, 4)]
    assert float(rows[-1]["lr"]) == pytest.approx(5e-4)
    assert rows[-1]["validation x8"]
    assert Image.open(run / "log.png").size[0] > 400
    spec = load_checkpoint(run / "model.pth").spec
    assert spec["args"]["conv_num"] == 2
    assert load_checkpoint(run / "phase1.pth").spec["args"]["conv_num"] == 1
    plan = clit_deploy.export_checkpoint(run / "model.pth")
    with clit_deploy.load(plan) as up:
        assert up.upscale(photo(9, 11), scale=6).shape == (54, 66, 3)


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("kill_at", [(1, 3), (2, 1), (2, 4)])
def test_a_killed_run_resumes_to_the_bit(config, folder, tmp_path, kill_at, ema):
    phases = tuple(dataclasses.replace(phase, ema=ema) for phase in config.phases)
    config = dataclasses.replace(config, phases=phases)

    def kill(report):
        if (report["phase"], report["step"]) == kill_at:
            raise Killed

    whole = train(config, folder, tmp_path / "whole", device="cpu")
    with pytest.raises(Killed):
        train(config, folder, tmp_path / "cut", device="cpu", progress=kill)
    steps = []
    resumed = train(
        config, folder, tmp_path / "cut", device="cpu", progress=lambda r: steps.append(r["step"])
    )
    assert len(steps) < 8  # it did not begin anew
    expected, got = weights(whole), weights(resumed)
    assert all(torch.equal(expected[key], got[key]) for key in expected)
    assert (tmp_path / "whole/log.csv").read_text() == (tmp_path / "cut/log.csv").read_text()


def test_weights_move_and_the_frozen_stay(config, folder, tmp_path):
    frozen = tuple(dataclasses.replace(p, freeze_encoder=True) for p in config.phases)
    config = dataclasses.replace(config, phases=frozen)
    torch.manual_seed(config.seed)
    before = build_model(config.spec(1)).state_dict()
    train(config, folder, tmp_path, device="cpu")
    first, last = weights(tmp_path / "phase1.pth"), weights(tmp_path / "model.pth")
    for key, value in before.items():
        moved = not torch.equal(value, first[key])
        assert moved == (not key.startswith("encoder.")), key
    # The second phase trains both stages.
    assert not torch.equal(first["imnets.0.layers.0.weight"], last["imnets.0.layers.0.weight"])


def test_frozen_stages_stay(config, folder, tmp_path):
    alone = dataclasses.replace(config.phases[1], frozen=1)
    config = dataclasses.replace(config, phases=(config.phases[0], alone))
    train(config, folder, tmp_path, device="cpu")
    first, last = weights(tmp_path / "phase1.pth"), weights(tmp_path / "model.pth")
    for key, value in first.items():
        assert torch.equal(value, last[key]), key
    new = grown(build_model(config.spec(2)), first)
    moved = {key for key in new if not torch.equal(new[key], last[key])}
    assert "imnets.1.layers.0.weight" in moved
    assert all(".1." in key for key in moved)


def test_the_encoder_may_start_elsewhere(config, folder, tmp_path):
    source = tiny_checkpoint(tmp_path, tiny_clit(stages=1), "source.pth")
    phases = (dataclasses.replace(config.phases[0], freeze_encoder=True),)
    config = dataclasses.replace(config, encoder_from=str(source), phases=phases)
    got = weights(train(config, folder, tmp_path / "run", device="cpu"))
    for key, value in weights(source).items():
        if key.startswith("encoder."):
            assert torch.equal(got[key], value)
    spec = config.model["args"] | {
        "encoder_spec": {
            "name": "edsr-baseline",
            "args": {"no_upsampling": True, "n_resblocks": 2, "n_feats": 8},
        }
    }
    config = dataclasses.replace(config, model={"name": "clit", "args": spec})
    with pytest.raises(TrainingError, match=r"source\.pth does not fit"):
        train(config, folder, tmp_path / "other", device="cpu")


def test_a_new_stage_begins_as_the_one_before():
    spec = tiny_clit(stages=1)
    one = build_model(spec)
    two = build_model(tiny_clit(stages=2))
    two.load_state_dict(grown(two, one.state_dict()))
    assert torch.equal(two.conv_qs[1].weight, one.conv_qs[0].weight)
    assert torch.equal(two.imnets[1].layers[0].weight, one.imnets[0].layers[0].weight)
    assert torch.equal(two.imnets[1].layers[-1].weight, one.imnets[0].layers[-1].weight / 4)
    again = grown(two, two.state_dict())
    assert all(torch.equal(again[key], value) for key, value in two.state_dict().items())


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good(
    config, folder, tmp_path, monkeypatch
):
    calls = []

    def broken(model, batch, device):
        calls.append(batch)
        real = loss_of(model, batch, device)
        return real * float("nan") if model.training and len(batch.factors) and done() else real

    def done():
        return (tmp_path / "state.pt").exists()

    loss_of = loop.loss_of
    monkeypatch.setattr(loop, "loss_of", broken)
    with pytest.raises(TrainingError, match="loss is nan at step 3 of phase 1"):
        train(config, folder, tmp_path, device="cpu")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["step"] == 2
    assert all(torch.isfinite(v).all() for v in state["weights"].values())
    monkeypatch.undo()
    train(config, folder, tmp_path, device="cpu")


def test_another_configuration_does_not_resume(config, folder, tmp_path):
    train(config, folder, tmp_path, device="cpu")
    other = dataclasses.replace(config, model={**config.model, "args": {"r": 2}}, seed=4)
    with pytest.raises(TrainingError, match=r"another configuration \(model, seed differ\)"):
        train(other, folder, tmp_path, device="cpu")
    (tmp_path / "state.pt").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match="damaged"):
        train(config, folder, tmp_path, device="cpu")


def test_photographs_are_not_split_in_two(folder):
    photos = read_photos(folder, 0.3)
    assert (len(photos.train), len(photos.validation)) == (6, 2)
    seen = {p.tobytes() for p in photos.train}
    assert not seen & {p.tobytes() for p in photos.validation}


def test_a_batch_is_what_it_says(folder):
    photos = read_photos(folder, 0.3)
    phase = TrainingPhase(stages=1, steps=1, batch=3, crop=16, queries=50)
    batch = draw(photos.train, phase, (2.0, 3.0), np.random.default_rng(0))
    assert batch.lr.shape == (3, 3, 16, 16)
    assert batch.size == 96
    assert batch.coords.shape == (3, 50, 2)
    assert np.abs(batch.coords).max() < 1
    # At a factor of 1 the small picture has the very colours that are asked for.
    same = draw(photos.train, phase, (1.0,), np.random.default_rng(0))
    at = ((same.coords + 1) / 2 * 16).astype(int)
    for lr, a, rgb in zip(same.lr, at, same.rgb, strict=True):
        assert np.array_equal(lr[:, a[:, 0], a[:, 1]].T, rgb)
    tall = draw(photos.train, phase, (4.0, 4.0), np.random.default_rng(0))
    assert tall.lr.shape[-1] == 6  # 96 pixels leave no room for more


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("seed = 3", "sead = 3"), "unknown keys at the top level: sead"),
        (("steps = 4\nlr", "stops = 4\nlr"), "unknown keys at phase 1: stops"),
        (("steps = 4\nlr", "lr"), "lacks steps at phase 1"),
        (("batch = 2", "batch = 0"), "is invalid"),
        (("batch = 2", 'batch = "a"'), "wrong type"),
        (("stages = 2", "stages = 2\nfrozen = 2"), "at least one must be trained"),
        (("stages = 2", "stages = 4"), "4 stages, but factors"),
        (("[[phase]]", "[[phases]]"), r"no \[\[phase\]\]"),
        (("seed = 3", "seed = "), "not valid TOML"),
        (('name = "clit"', "nome = 1"), "must have a name"),
        (("batch = 2", "batch = 2\nema = 1"), "must be in 0..1"),
        (("validation = 0.3", "validation = 1.5"), "between 0 and 1"),
    ],
)
def test_bad_configurations_are_refused(tmp_path, change, words):
    path = tmp_path / "bad.toml"
    path.write_text(TOML.replace(*change))
    with pytest.raises(TrainingError, match=words):
        read_config(path)


def test_bad_data_is_refused(config, folder, tmp_path, caplog):
    with pytest.raises(MissingFileError):
        read_config(tmp_path / "none.toml")
    with pytest.raises(MissingFileError, match="no folder"):
        read_photos(tmp_path / "none", 0.1)
    some = tmp_path / "some"
    some.mkdir()
    with pytest.raises(TrainingError, match="0 photographs"):
        read_photos(some, 0.1)
    shutil.copy(folder / "000_crop_0.png", some)
    with pytest.raises(TrainingError, match="1 photographs"):
        read_photos(some, 0.1)
    (some / "bad.png").write_bytes(b"no picture")
    with pytest.raises(TrainingError, match=r"1 of 2 images.*bad\.png"):
        read_photos(some, 0.1)
    many = tmp_path / "many"
    many.mkdir()
    for k in range(12):
        shutil.copy(folder / "000_crop_0.png", many / f"{k}.png")
    (many / "bad.png").write_bytes(b"no picture")
    assert len(read_photos(many, 0.1).train) == 11
    assert "1 of 13 pictures are left out" in caplog.text


def test_the_recipe_of_the_default_model_is_sound():
    config = read_config(ROOT / "train" / "default.toml")
    assert isinstance(config, Config)
    assert [phase.stages for phase in config.phases] == [1, 2, 3, 3]
    build_model(config.spec(3))


def test_an_unknown_device_is_named(config, folder, tmp_path):
    with pytest.raises(TrainingError, match="Unknown device 'tpu'"):
        train(config, folder, tmp_path, device="tpu")


def test_cuda_that_is_not_there_is_named(config, folder, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(TrainingError, match="finds no GPU"):
        train(config, folder, tmp_path, device="cuda")
