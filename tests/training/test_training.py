"""Training: recipes, data, the growing cascade, and runs that are stopped."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import clit_deploy
from clit_deploy.errors import (
    CheckpointError,
    MissingDependencyError,
    MissingFileError,
    OutputError,
    TrainingError,
)
from clit_deploy.models import build_model, load_checkpoint
from clit_deploy.system.locks import locked
from clit_deploy.training import learner, loop, precision
from clit_deploy.training.batches import draw, to_batch
from clit_deploy.training.data import read_photos
from clit_deploy.training.first_layers import Float32Conv2d, keep_first_layers_exact
from clit_deploy.training.loop import train
from clit_deploy.training.precision import Precision, choose_precision
from clit_deploy.training.schedule import Clock, decoder_rate, encoder_rate, stages_at
from clit_deploy.training.stages import grown, up_to
from clit_deploy.training.start import first_model, start_encoder
from clit_deploy.training.training_config import Config, read_config
from clit_deploy.training.validation import Validation
from tests.helpers import ROOT, cli, photo, tiny_checkpoint, tiny_clit, tiny_liif

TOML = """
seed = 3
stages = 2
steps = 6
interval = 2
warmup = 2
ema = 0.9
validation = 0.3
lr = 1e-3
batch = 2
crop = 12
cells = 6
most = 24
factors = [3.0, 2.0]
shares = [0.5, 0.5]
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
"""
CPU = torch.device("cpu")


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


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def weights(path):
    return torch.load(path, weights_only=True)["model"]["sd"]


def run_tiny(config, folder, run, **options):
    return train(config, folder, run, **{"device": "cpu", "precision": "float32", **options})


def bounds_of(path):
    return {name: value for name, value in weights(path).items() if "bounds." in name}


def test_the_bounds_of_an_encoder_are_measured_once(config, folder, tmp_path):
    args = {"no_upsampling": True, "n_feats": 8, "n_blocks": 2, "img_range": 4.0}

    def training(run, *, bounded, **changes):
        spec = {"name": "span", "args": {**args, "bounded": bounded}}
        model = {**config.model, "args": {**config.model["args"], "encoder_spec": spec}}
        changed = dataclasses.replace(config, model=model, steps=2, **changes)
        return run_tiny(changed, folder, tmp_path / run)

    free = training("free", bounded=False)
    assert not bounds_of(free)
    begun = training("begun", bounded=True, init=str(free))
    measured = bounds_of(begun)
    assert len(measured) == 8  # low and high of two places in two blocks
    assert all(torch.isfinite(value).all() for value in measured.values())
    kept = bounds_of(training("kept", bounded=True, init=str(begun), seed=4))
    assert all(torch.equal(value, kept[name]) for name, value in measured.items())


class Killed(BaseException):
    """As sudden as a signal."""


def test_train_export_run(folder, tmp_path):
    recipe, run = tmp_path / "tiny.toml", tmp_path / "run"
    recipe.write_text(TOML)
    told = ("--device", "cpu", "--precision", "float32", "--threads", "1", "--figure")
    done = cli("train", recipe, "--images", folder, "-o", run, *told)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert "6 images to train on, 2 to validate; float32, as requested" in lines
    assert "step 3: all 2 stages train from here on" in lines
    assert any(line.startswith("step 6  loss 0.") and " dB" in line for line in lines)
    with (run / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(int(r["step"]), int(r["stages"])) for r in rows] == [(2, 1), (4, 2), (6, 2)]
    assert all(float(rows[-1][name]) > 5 for name in ("x2", "x3", "x4", "x12"))
    assert Image.open(run / "log.png").size[0] > 400
    assert load_checkpoint(run / "model.pth").spec["args"]["conv_num"] == 2
    plan = clit_deploy.export_checkpoint(run / "model.pth")
    with clit_deploy.load(plan) as up:
        assert up.upscale(photo(9, 11), scale=6).shape == (54, 66, 3)
    again = cli("train", recipe, "--images", folder, "-o", run, *told)
    assert again.returncode == 1
    assert "holds a run at step 6; add --resume" in again.stderr


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("kill_at", [1, 3, 5, 6])
def test_a_killed_run_resumes_to_the_bit(config, folder, tmp_path, kill_at, ema, one_thread):
    config = dataclasses.replace(config, ema=ema, degradation="photo", synthetic=0.3)

    def kill(report):
        if report.step == kill_at and not report.line:
            raise Killed

    whole = run_tiny(config, folder, tmp_path / "whole")
    with pytest.raises(Killed):
        run_tiny(config, folder, tmp_path / "cut", progress=kill)
    steps = []
    resumed = run_tiny(
        config,
        folder,
        tmp_path / "cut",
        resume=True,
        progress=lambda r: None if r.line else steps.append(r.step),
    )
    assert steps == list(range(kill_at - kill_at % 2 + 1, 7))  # from the last interval on
    expected, got = weights(whole), weights(resumed)
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[key], got[key]) for key in expected)
    assert (tmp_path / "whole/log.csv").read_text() == (tmp_path / "cut/log.csv").read_text()


def test_a_run_in_bfloat16_resumes_within_its_noise(config, folder, tmp_path, one_thread):
    """Within a hundredth of what the weights have moved."""
    if precision.bfloat16_gain() < 1:
        pytest.skip("this CPU has no bfloat16")
    torch.manual_seed(config.seed)
    start = build_model(config.spec(2)).state_dict()

    def kill(report):
        if report.step == 3:
            raise Killed

    whole = run_tiny(config, folder, tmp_path / "whole", precision="bfloat16")
    with pytest.raises(Killed):
        run_tiny(config, folder, tmp_path / "cut", precision="bfloat16", progress=kill)
    resumed = run_tiny(config, folder, tmp_path / "cut", precision="bfloat16", resume=True)
    expected, got = weights(whole), weights(resumed)
    moved = sum(float(((expected[k] - start[k]) ** 2).sum()) for k in expected)
    apart = sum(float(((expected[k] - got[k]) ** 2).sum()) for k in expected)
    assert apart <= 1e-4 * moved


def test_the_encoder_may_be_left_as_it_is(config, folder, tmp_path):
    config = dataclasses.replace(config, encoder_rate=0.0)
    torch.manual_seed(config.seed)
    before = build_model(config.spec(2)).state_dict()
    after = weights(run_tiny(config, folder, tmp_path))
    for key, value in before.items():
        moved = not torch.equal(value, after[key])
        assert moved == (not key.startswith("encoder.")), key


def test_every_family_trains(config, folder, tmp_path):
    config = dataclasses.replace(config, model=tiny_liif(), stages=1, queries=30, steps=2)
    after = weights(run_tiny(config, folder, tmp_path))
    torch.manual_seed(config.seed)
    before = build_model(tiny_liif()).state_dict()
    assert before.keys() == after.keys()
    assert not torch.equal(before["imnet.layers.0.weight"], after["imnet.layers.0.weight"])


def test_the_encoder_may_start_elsewhere(config, folder, tmp_path):
    source = tiny_checkpoint(tmp_path, tiny_clit(stages=1), "source.pth")
    begun = dataclasses.replace(config, encoder_from=str(source), encoder_rate=0.0)
    got = weights(run_tiny(begun, folder, tmp_path / "run"))
    own = {k: v for k, v in weights(source).items() if k.startswith("encoder.")}
    assert all(torch.equal(got[key], value) for key, value in own.items())
    archive = tmp_path / "source.npz"
    plain = {k.removeprefix("encoder."): v.numpy() for k, v in own.items()}
    np.savez(archive, **plain, mean=np.zeros(3), **{"upsampler.0.weight": np.zeros(2)})
    fresh = build_model(tiny_clit()).encoder
    start_encoder(fresh, archive)
    assert all(torch.equal(v, torch.from_numpy(plain[k])) for k, v in fresh.state_dict().items())


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"n_resblocks": 2, "n_feats": 8}, r"source\.pth does not fit .* it lacks body"),
        ({"n_resblocks": 1, "n_feats": 6}, r"head\.0\.weight is \(8, 3, 3, 3\), .* \(6, 3, 3, 3\)"),
    ],
)
def test_an_encoder_of_another_shape_is_refused(config, folder, tmp_path, args, words):
    source = tiny_checkpoint(tmp_path, tiny_clit(stages=1), "source.pth")
    spec = {"name": "edsr-baseline", "args": {"no_upsampling": True, **args}}
    model = {"name": "clit", "args": {**config.model["args"], "encoder_spec": spec}}
    config = dataclasses.replace(config, model=model, encoder_from=str(source))
    with pytest.raises(TrainingError, match=words):
        run_tiny(config, folder, tmp_path / "other")
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"PK")
    with pytest.raises(TrainingError, match="not an archive of arrays"):
        run_tiny(dataclasses.replace(config, encoder_from=str(broken)), folder, tmp_path / "third")


def test_a_run_may_start_from_a_checkpoint_with_fewer_stages(config, folder, tmp_path):
    source = tiny_checkpoint(tmp_path, config.spec(1), "one.pth")
    begun = dataclasses.replace(config, init=str(source), lr=1e-9)
    got = weights(run_tiny(begun, folder, tmp_path / "run"))
    for key, value in grown(build_model(config.spec(2)), weights(source)).items():
        assert torch.allclose(got[key], value, atol=1e-6), key
    two = tiny_checkpoint(tmp_path, config.spec(2), "two.pth")
    rows = []
    run_tiny(
        dataclasses.replace(begun, init=str(two)), folder, tmp_path / "both", progress=rows.append
    )
    assert not any("train from here on" in row.line for row in rows)  # they are all there
    other = tiny_checkpoint(tmp_path, tiny_clit(stages=1), "other.pth")
    with pytest.raises(TrainingError, match=r"model of other\.pth does not fit"):
        run_tiny(dataclasses.replace(begun, init=str(other)), folder, tmp_path / "none")


def test_later_stages_begin_as_the_first():
    one = build_model(tiny_clit(stages=1))
    three = build_model(tiny_clit(stages=3))
    three.load_state_dict(grown(three, one.state_dict()))
    for stage in (1, 2):
        assert torch.equal(three.conv_qs[stage].weight, one.conv_qs[0].weight)
        first, last = (three.imnets[stage].layers[k].weight for k in (0, -1))
        assert torch.equal(first, one.imnets[0].layers[0].weight)
        assert torch.equal(last, one.imnets[0].layers[-1].weight / 4)
    own = three.state_dict()
    assert all(torch.equal(v, own[k]) for k, v in grown(three, own).items())
    assert up_to(1, own).keys() == one.state_dict().keys()


def test_a_loss_that_is_not_finite_goes_back(config, folder, tmp_path, monkeypatch):
    real = learner.add_gradients
    calls = []

    def broken(model, batch, **options):
        calls.append(1)
        return real(model, batch, **options) * (float("nan") if len(calls) == 3 else 1.0)

    monkeypatch.setattr(learner, "add_gradients", broken)
    lines, rates = [], []
    config = dataclasses.replace(config, warmup=1, join=1)
    path = run_tiny(config, folder, tmp_path / "run", progress=lambda r: lines.append(r.line))
    assert "step 4: the loss is nan; back to the last good weights, with half the rate" in lines
    assert all(torch.isfinite(v).all() for v in weights(path).values())
    with (tmp_path / "run" / "log.csv").open() as file:
        rates = {int(row["step"]): float(row["lr"]) for row in csv.DictReader(file)}
    assert sorted(rates) == [2, 6]
    assert torch.load(tmp_path / "run" / "state.pt", weights_only=True)["slowed"] == 0.5


def test_a_loss_that_stays_not_finite_ends_with_the_last_good(
    config, folder, tmp_path, monkeypatch
):
    real = learner.add_gradients

    def broken(model, batch, **options):
        bad = (tmp_path / "run" / "state.pt").exists()
        return real(model, batch, **options) * (float("nan") if bad else 1.0)

    config = dataclasses.replace(config, steps=40)
    monkeypatch.setattr(learner, "add_gradients", broken)
    with pytest.raises(TrainingError, match="loss was nan at step 16, for the 7th time"):
        run_tiny(config, folder, tmp_path / "run")
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    assert state["step"] == 2
    assert load_checkpoint(tmp_path / "run" / "model.pth")
    monkeypatch.undo()
    run_tiny(dataclasses.replace(config, steps=6), folder, tmp_path / "run", resume=True)


def test_a_clock_that_runs_out_keeps_the_last_good_state(config, folder, tmp_path, monkeypatch):
    now = iter(np.arange(0, 1000, 0.25))
    monkeypatch.setattr("clit_deploy.training.schedule.time.monotonic", lambda: float(next(now)))
    timed = dataclasses.replace(config, steps=0, interval=1e6)
    with pytest.raises(TrainingError, match="neither steps nor seconds"):
        run_tiny(timed, folder, tmp_path / "run")
    with pytest.raises(TrainingError, match="seconds = 0 is not valid"):
        run_tiny(timed, folder, tmp_path / "run", seconds=0)
    path = run_tiny(timed, folder, tmp_path / "run", seconds=9)
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    assert state["step"] > 1
    assert load_checkpoint(path).spec["args"]["conv_num"] == state["stages"]
    run_tiny(timed, folder, tmp_path / "run", seconds=18, resume=True)
    later = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    assert later["step"] > state["step"]


def test_a_run_counted_in_steps_is_cut_by_the_clock(config, folder, tmp_path, monkeypatch):
    whole = weights(run_tiny(config, folder, tmp_path / "whole"))
    now = iter(np.arange(0, 1000, 0.25))
    monkeypatch.setattr("clit_deploy.training.schedule.time.monotonic", lambda: float(next(now)))
    lines = []
    long = dataclasses.replace(config, interval=1e6)
    run_tiny(long, folder, tmp_path / "cut", seconds=2, progress=lambda r: lines.append(r.line))
    assert "--resume with more --seconds goes on" in lines[-1]
    monkeypatch.undo()
    resumed = weights(run_tiny(long, folder, tmp_path / "cut", resume=True))
    assert all(torch.allclose(whole[key], resumed[key], atol=1e-6) for key in whole)


def test_a_finished_run_says_so(config, folder, tmp_path, caplog):
    run_tiny(config, folder, tmp_path)
    run_tiny(config, folder, tmp_path, resume=True)
    assert "finished already" in caplog.text


def test_another_recipe_does_not_resume(config, folder, tmp_path):
    run_tiny(config, folder, tmp_path)
    other = dataclasses.replace(config, model={**config.model, "args": {"r": 2}}, seed=4)
    with pytest.raises(TrainingError, match=r"another recipe \(model, seed differ\)"):
        run_tiny(other, folder, tmp_path, resume=True)
    longer = dataclasses.replace(
        config, batch=1, steps=8
    )  # what memory and time ask for may change
    run_tiny(longer, folder, tmp_path, resume=True)
    with (
        locked(tmp_path / "state.pt", "training"),
        pytest.raises(OutputError, match="Another proc"),
    ):
        run_tiny(longer, folder, tmp_path, resume=True)
    (tmp_path / "state.pt").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match="damaged"):
        run_tiny(config, folder, tmp_path, resume=True)


def test_too_little_memory_names_what_to_lower(config, folder, tmp_path, monkeypatch):
    asked = []

    def full(model, batch, *, images, bfloat16):
        asked.append(images)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 6.89 GiB.")

    monkeypatch.setattr(learner, "add_gradients", full)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    with pytest.raises(
        TrainingError, match=r"batch = 2, cells = 6 and most = 24.*--batch 1.*--resume"
    ):
        run_tiny(config, folder, tmp_path)
    assert asked == [1]
    made = learner.Learner(build_model(config.spec(2)), 1, config, CPU, bfloat16=False)
    made.images = 8
    batch = to_batch(draw(read_photos(folder, 0.3).train, config, 1, 0), CPU)
    with pytest.raises(TrainingError):
        made.learn(batch, (1e-3, 1e-3), 0)
    assert asked[1:] == [8, 4, 2, 1]  # fewer images at once come first


def test_photographs_are_not_split_in_two(folder):
    photos = read_photos(folder, 0.3)
    assert (len(photos.train), len(photos.validation)) == (6, 2)
    seen = {p.tobytes() for p in photos.train}
    assert not seen & {p.tobytes() for p in photos.validation}


def test_a_batch_is_what_it_says(folder, config):
    photos = read_photos(folder, 0.3).train
    config = dataclasses.replace(config, batch=3, crop=16, cells=8, factors=(1.0, 3.0))
    found = draw(photos, config, 1, step=5, queries=50)
    batch = to_batch(found, CPU)
    assert batch.image.shape == (3, 3, 16, 16)
    # At a factor of 1 the small image has the very colors that are requested.
    patch = batch.patch
    rows, cols = (slice(span.start, span.stop) for span in (patch.rows, patch.cols))
    assert torch.equal(batch.image[:, :, rows, cols], batch.truth)
    low, high = found.places.min(axis=(0, 1)), found.places.max(axis=(0, 1))
    assert found.places.shape == (3, 50, 2)
    assert low[0] >= patch.rows.start
    assert high[1] < patch.cols.stop
    again = draw(photos, config, 1, step=5, queries=50)
    assert np.array_equal(found.pixels, again.pixels)
    assert not np.array_equal(found.pixels, draw(photos, config, 1, step=6).pixels)
    tall = dataclasses.replace(config, factors=(4.0, 4.0), shares=(1e-9, 1.0), crop=48)
    patches = [draw(photos, tall, 2, step).patch for step in range(20)]
    assert all(p.size <= 96 and p.size == round(p.low * p.scale) for p in patches)
    assert {len(p.factors) for p in patches} == {2}
    assert any(p.factors[0] == 4 for p in patches)


def test_the_schedule():
    config = Config(model={"name": "clit"}, stages=3, steps=1000, lr=1e-3, warmup=100, join=0.4)
    rates = [decoder_rate(config, s / 1000, s, s) for s in range(1000)]
    assert rates[0] == pytest.approx(1e-5)
    assert max(rates) == rates[100] == pytest.approx(1e-3)
    assert rates[550] == pytest.approx(1e-3 * 0.505, rel=0.01)
    assert rates[-1] == pytest.approx(1e-5, rel=0.01)
    assert decoder_rate(config, 0.1, 100, 0) == pytest.approx(1e-3 / 20)  # after a return
    slow = dataclasses.replace(config, encoder_rate=0.2)
    assert [encoder_rate(slow, f, 1e-3) for f in (0, 0.025, 0.5)] == pytest.approx([0, 1e-4, 2e-4])
    assert [stages_at(config, f) for f in (0, 0.39, 0.4, 1)] == [1, 1, 3, 3]
    clock = Clock(config, spent=7.0, limit=None)
    assert clock.fraction(250) == 0.25
    assert clock.seconds >= 7
    assert not clock.is_over(999)
    assert clock.is_over(1000)


def test_validation_is_split_by_scale_and_knows_a_perfect_picture(folder, monkeypatch):
    photos = read_photos(folder, 0.3).validation
    checked = Validation(photos, CPU, 1, with_jpeg=True)
    found = checked.decibels(build_model(tiny_clit(stages=1, r=1)))
    assert list(found) == ["x2", "x2 jpeg40", "x3", "x4", "x4 jpeg40", "x12"]
    again = checked.decibels(build_model(tiny_clit(stages=1, r=1)))
    assert found["x2"] != again["x2"]  # other weights


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("seed = 3", "sead = 3"), "unknown keys: sead; known are"),
        (("batch = 2", "batch = 0"), r"batch = 0 in bad.toml is not valid; .* between 1 and"),
        (("batch = 2", 'batch = "a"'), "wrong type"),
        (("stages = 2", "stages = 3"), "3 stages; factors names 2 and shares 2"),
        (("seed = 3", "seed = "), "not valid TOML"),
        (('name = "clit"', "nome = 1"), "must have a name"),
        (('name = "clit"', 'name = "liif"'), "2 stages, but the family 'liif' has one"),
        (("ema = 0.9", "ema = 1"), "ema = 1 in"),
        (("validation = 0.3", "validation = 1.5"), "validation = 1.5"),
        (("steps = 6", "steps = 6\nseconds = 5"), "steps and seconds"),
        (("factors = [3.0", "factors = [0.5"), "factors in bad.toml must be at least 1"),
        (("seed = 3", 'degradation = "rain"'), "there are none and photo"),
    ],
)
def test_bad_recipes_are_refused(tmp_path, change, words):
    path = tmp_path / "bad.toml"
    path.write_text(TOML.replace(*change, 1))
    with pytest.raises(TrainingError, match=words):
        read_config(path)


def test_what_a_recipe_names_must_be_there(tmp_path):
    path = tmp_path / "some.toml"
    path.write_text(TOML.replace("seed = 3", 'encoder_from = "none.npz"', 1))
    with pytest.raises(MissingFileError, match=r"encoder_from in some\.toml.*none\.npz"):
        read_config(path)
    with pytest.raises(MissingFileError):
        read_config(tmp_path / "none.toml")


def test_bad_data_is_refused(folder, tmp_path, caplog):
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
    with pytest.raises(TrainingError, match=r"100x96 pixels, smaller than a crop of 120x120"):
        read_photos(folder, 0.1, crop=120)
    many = tmp_path / "many"
    many.mkdir()
    for k in range(12):
        shutil.copy(folder / "000_crop_0.png", many / f"{k}.png")
    (many / "bad.png").write_bytes(b"no picture")
    assert len(read_photos(many, 0.1).train) == 11
    assert "1 of 13 images are left out" in caplog.text


@pytest.mark.parametrize(
    ("name", "encoder", "degradation", "drawn"),
    [
        ("fast", "span", "none", 0.1),
        ("clit", "edsr-baseline", "none", 0.15),
        ("slim", "edsr-baseline", "none", 0.1),
        ("photo", "edsr-baseline", "photo", 0.1),
    ],
)
def test_the_recipes_are_sound(tmp_path, name, encoder, degradation, drawn):
    text = (ROOT / "train" / f"{name}.toml").read_text()
    for weights_file in ("span-x4.npz", "edsr-baseline-liif.pth"):
        (tmp_path / weights_file).touch()
    path = tmp_path / f"{name}.toml"
    path.write_text(text)
    config = read_config(path)
    assert (config.stages, config.degradation, config.synthetic) == (3, degradation, drawn)
    assert config.model["args"]["encoder_spec"]["name"] == encoder
    build_model(config.spec(3))


@pytest.mark.parametrize(
    ("name", "start"), [("fast-further", "clit-fast"), ("clit-further", "clit")]
)
def test_recipes_that_go_further_fit_the_published_models(tmp_path, name, start):
    shutil.copytree(ROOT / "train" / "starts", tmp_path / "starts")
    (tmp_path / "edsr-baseline-liif.pth").touch()
    config = read_config(Path(shutil.copy(ROOT / "train" / f"{name}.toml", tmp_path)))
    model, stages = first_model(config)
    assert stages == config.stages == 3
    published = load_checkpoint(ROOT / "train" / "starts" / f"{start}.pth").model
    pairs = zip(model.parameters(), published.parameters(), strict=True)
    assert all(torch.equal(own, other) for own, other in pairs)


def test_precision_is_decided_by_measuring(monkeypatch):
    monkeypatch.setattr(precision, "bfloat16_gain", lambda: 4.0)
    assert choose_precision("auto", CPU) == Precision(
        True, "bf16 on this CPU: products 4.0 times as fast as float32"
    )
    assert choose_precision("float32", CPU).name == "float32"
    monkeypatch.setattr(precision, "bfloat16_gain", lambda: 0.2)
    assert not choose_precision("auto", CPU).bfloat16
    with pytest.raises(TrainingError, match=r"no bfloat16 instructions .* 5\.0 times as long"):
        choose_precision("bfloat16", CPU)
    with pytest.raises(TrainingError, match="Unknown precision 'half'"):
        choose_precision("half", CPU)


def test_layers_that_read_the_picture_stay_float32():
    encoder = build_model(tiny_clit()).encoder
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    keep_first_layers_exact(encoder)
    assert isinstance(encoder.head[0], Float32Conv2d)
    assert encoder.state_dict().keys() == before.keys()
    image = torch.rand(1, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert encoder.head(image).dtype == torch.float32
        assert encoder.body[0].body[0](encoder.head(image)).dtype == torch.bfloat16


def test_a_figure_without_matplotlib_is_refused_at_once(config, folder, tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "matplotlib" else real(name)
    )
    monkeypatch.setattr(loop, "read_photos", None)
    with pytest.raises(MissingDependencyError, match="--figure needs matplotlib"):
        run_tiny(config, folder, tmp_path / "run", figure=True)
    assert not (tmp_path / "run").exists()


def test_an_unknown_device_is_named(config, folder, tmp_path):
    with pytest.raises(TrainingError, match="Unknown device 'tpu'"):
        run_tiny(config, folder, tmp_path, device="tpu")


def test_cuda_that_is_not_there_is_named(config, folder, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(TrainingError, match="finds no GPU"):
        run_tiny(config, folder, tmp_path, device="cuda")
