"""Checkpoints as they are found: wrapped, in other layouts, without args, and files of other kinds.

The files of `tests/odd` are such checkpoints of a tiny LIIF.
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from clit_deploy.errors import CheckpointError, ClitDeployError
from clit_deploy.models import build_model, load_checkpoint
from clit_deploy.models.registry import resolved
from tests.helpers import (
    posenc,
    ruled_weights,
    tiny_clit,
    tiny_encoder,
    tiny_liif,
    tiny_lit,
    tiny_lte,
)

ODD = Path(__file__).parents[1] / "odd"

RDN = {"name": "rdn", "args": {"no_upsampling": True, "RDNconfig": "A", "G0": 8}}
SWINIR = {
    "name": "swinir",
    "args": {
        "img_size": 12,
        "embed_dim": 8,
        "depths": [2, 1],
        "num_heads": [2, 4],
        "window_size": 4,
        "mlp_ratio": 3.0,
    },
}


def weights_of(spec):
    return ruled_weights(build_model(spec).state_dict())


def saved(folder, content, name="m.pth"):
    torch.save(content, folder / name)
    return folder / name


def assert_loads(path, spec, weights):
    loaded = load_checkpoint(path)
    assert loaded.spec["name"] == spec["name"]
    own = loaded.model.state_dict()
    assert own.keys() == weights.keys()
    assert all(torch.equal(own[key], weights[key].to(own[key].dtype)) for key in own)
    return loaded


@pytest.mark.parametrize("name", ["module", "numpyscalar", "barestate"])
def test_these_are_read(name):
    assert load_checkpoint(ODD / f"{name}.pth").spec["name"] == "liif"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pathobj", r"pathlib\.PosixPath.* save the model alone"),
        ("pointer", "Git LFS pointer.*git lfs pull"),
        ("weights", r"safetensors.* rename it to weights\.safetensors"),
        ("archive", r"zip archive that holds model/base\.pth.* unpack it"),
    ],
)
def test_these_are_named_for_what_they_are(name, words):
    with pytest.raises(CheckpointError, match=words) as caught:
        load_checkpoint(ODD / f"{name}.pth")
    assert "add_safe_" not in str(caught.value)


def test_a_web_page_and_an_archive(tmp_path):
    path = tmp_path / "m.pth"
    for content, words in [
        (b"\n<!DOCTYPE html><html>Sign in</html>", "HTML page"),
        (b"\x1f\x8b\x08\x00rest", "gzip archive"),
    ]:
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=words):
            load_checkpoint(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "nothing")
    with pytest.raises(CheckpointError, match="zip archive without a checkpoint"):
        load_checkpoint(path)


def test_a_torchscript_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as file:
        for name in ("m/data.pkl", "m/constants.pkl", "m/code/__torch__.py"):
            file.writestr(name, b"")
    with pytest.raises(CheckpointError, match="TorchScript archive, which holds code"):
        load_checkpoint(tmp_path / "m.pt")


@pytest.mark.parametrize(
    "wrap",
    ["module.{}", "_orig_mod.{}", "module._orig_mod.{}", "model.{}", "net.module.{}"],
)
def test_names_that_something_wraps(tmp_path, wrap):
    weights = weights_of(tiny_liif())
    wrapped = {wrap.format(name): value for name, value in weights.items()}
    path = saved(tmp_path, {"model": {**tiny_liif(), "sd": wrapped}, "epoch": 3})
    assert_loads(path, tiny_liif(), weights)


def test_a_compiled_encoder_inside_a_model(tmp_path):
    weights = weights_of(tiny_lte())
    wrapped = {k.replace("encoder.", "encoder._orig_mod."): v for k, v in weights.items()}
    assert_loads(saved(tmp_path, {"model": {**tiny_lte(), "sd": wrapped}}), tiny_lte(), weights)


@pytest.mark.parametrize("place", ["whole", "one"])
def test_lightning_keeps_the_model_among_its_losses(tmp_path, place):
    spec = tiny_clit(stages=1)
    weights = weights_of(spec)
    state = {f"model.{name}": value for name, value in weights.items()}
    state["loss.vgg.0.weight"] = torch.zeros(3)
    options = {**spec, "lr": 1e-4} if place == "whole" else {"model_spec": spec, "lr": 1e-4}
    content = {
        "epoch": 7,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": state,
        "optimizer_states": [{"state": {}, "param_groups": [{"lr": 1e-4}]}],
        "hyper_parameters": options,
    }
    assert_loads(saved(tmp_path, content, "last.ckpt"), spec, weights)


@pytest.mark.parametrize(
    ("spec", "assumed"),
    [
        (tiny_liif(), "residuals that are not scaled"),
        (tiny_liif(feat_unfold=False), "the local ensemble and ReLU"),
        (tiny_liif(cell_decode=False), "the local ensemble and ReLU"),
        (tiny_liif(encoder_spec=RDN), "the local ensemble and ReLU"),
        (tiny_liif(encoder_spec=SWINIR), "ReLU"),
        (tiny_lte(), "ReLU"),
        (tiny_lte(encoder_spec=SWINIR), "ReLU"),
        (tiny_lte(encoder_spec=tiny_encoder(blocks=3)), "residuals that are not scaled"),
        (tiny_clit(), "a position bias with frequencies up to 2^10"),
        (tiny_clit(stages=2, r=1, encoder_spec=SWINIR, is_cell=False), "GELU"),
        (tiny_clit(stages=1, pb_spec=posenc("learn", enc_dims=12, hidden_dims=8)), "GELU"),
        (tiny_clit(stages=1, pb_spec=posenc("dpb", enc_dims=8, hidden_dims=8)), "GELU"),
        (tiny_lit(), "waves with frequencies up to 2^6"),
        (tiny_lit(is_cell=False, encoder_spec=RDN), "GELU"),
    ],
)
def test_a_state_dict_is_recognized(tmp_path, caplog, spec, assumed):
    weights = weights_of(spec)
    for content in (weights, {"state_dict": weights, "optimizer": {"lr": 0.1}}):
        loaded = assert_loads(saved(tmp_path, content), spec, weights)
        found = loaded.spec["args"]
        assert found["imnet_spec"]["args"]["hidden_list"] == [24, 24]
        for key, value in spec["args"]["encoder_spec"]["args"].items():
            assert found["encoder_spec"]["args"][key] == value
        for key in ("head", "r", "is_cell", "feat_unfold", "cell_decode", "hidden_dim"):
            assert found.get(key) == resolved(spec).get(key), key
    assert assumed in caplog.records[-1].getMessage()


def test_what_no_shape_shows_is_not_guessed(tmp_path):
    """Without a position bias nothing shows the heads."""
    with pytest.raises(CheckpointError, match="or the state dict of such a model; found"):
        load_checkpoint(saved(tmp_path, weights_of(tiny_clit(pb_spec=None))))


@pytest.mark.parametrize("kind", ["f8", "f4", "f2", "i8", "u1", "b1", ">f8"])
def test_numpy_scalars_become_numbers(tmp_path, kind):
    weights = weights_of(tiny_liif())
    scalar = np.array(1, kind)[()] if kind != ">f8" else np.array(1, ">f8")[()]
    content = {"model": {**tiny_liif(cell_decode=True), "sd": weights}, "best": scalar}
    assert_loads(saved(tmp_path, content), tiny_liif(), weights)


def test_other_numpy_objects_are_named(tmp_path):
    content = {"model": {**tiny_liif(), "sd": weights_of(tiny_liif())}}
    for more, words in [
        (np.zeros(3), r"numpy\S*_reconstruct"),
        (np.array("text")[()], r"numpy\.dtype\('U4'\)"),
    ]:
        with pytest.raises(CheckpointError, match=words):
            load_checkpoint(saved(tmp_path, {**content, "more": more}))


def test_safetensors(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    spec = tiny_clit(stages=1)
    weights = weights_of(spec)
    path = tmp_path / "m.safetensors"
    safetensors.save_file(weights_of(tiny_liif()), path)
    assert_loads(path, tiny_liif(), weights_of(tiny_liif()))
    import json

    safetensors.save_file(weights, path, metadata={"model": json.dumps(spec)})
    assert_loads(path, spec, weights)


def test_damaged_safetensors_are_refused(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    path = tmp_path / "m.safetensors"
    safetensors.save_file(weights_of(tiny_liif()), path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    contents = [whole[: int(n)] for n in rng.integers(0, len(whole), 20)]
    contents.append(struct.pack("<Q", 90_000_000) + b"{" * 100)
    for _ in range(60):
        broken = bytearray(whole)
        for place in rng.integers(0, 2500, 3):
            broken[place] = int(rng.integers(256))
        contents.append(bytes(broken))
    for content in contents:
        path.write_bytes(content)
        try:
            load_checkpoint(path)
        except ClitDeployError as error:
            assert len(str(error)) < 500  # noqa: PT017
