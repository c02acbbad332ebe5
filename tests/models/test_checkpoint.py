import pickle
import zipfile

import pytest
import torch

from clit_deploy.errors import (
    CheckpointError,
    ClitDeployError,
    MissingFileError,
    UnsupportedModelError,
)
from clit_deploy.models import build_model, load_checkpoint
from clit_deploy.models.torch_errors import named_torch_errors
from tests.helpers import (
    DATA,
    posenc,
    ruled_weights,
    save_checkpoint,
    tiny_clit,
    tiny_encoder,
    tiny_liif,
    tiny_lit,
    tiny_lte,
)


class Evil:
    def __reduce__(self):
        return (print, ("this must never be printed",))


@pytest.fixture
def weights():
    return ruled_weights(build_model(tiny_liif()).state_dict())


def saved(folder, content):
    torch.save(content, folder / "m.pth")
    return folder / "m.pth"


@pytest.mark.data
def test_the_official_weights_load():
    loaded = load_checkpoint(DATA / "checkpoints" / "edsr-baseline-liif.pth")
    assert loaded.spec["name"] == "liif"
    assert loaded.sha256.startswith("cb870c83")
    assert not loaded.model.training


def test_state_dict_keys_are_the_published_ones():
    keys = build_model(tiny_clit(stages=2)).state_dict().keys()
    assert {
        "encoder.sub_mean.weight",
        "encoder.head.0.weight",
        "encoder.body.0.body.2.bias",
        "encoder.body.1.weight",
        "conv_ch.weight",
        "conv_qs.1.weight",
        "conv_ks.0.bias",
        "conv_vs.1.bias",
        "pb_encoder.proj.weight",
        "imnets.1.layers.4.weight",
    } <= set(keys)
    assert "imnet.layers.0.weight" in build_model(tiny_liif()).state_dict()


def test_no_file(tmp_path):
    with pytest.raises(MissingFileError, match="no checkpoint file"):
        load_checkpoint(tmp_path / "none.pth")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut off", b"\x80\x02garbage"])
def test_not_a_checkpoint(tmp_path, content):
    path = tmp_path / "m.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"m\.pth is not a PyTorch checkpoint"):
        load_checkpoint(path)


def test_a_truncated_checkpoint(tmp_path, weights):
    save_checkpoint(tmp_path / "m.pth", tiny_liif(), weights)
    content = (tmp_path / "m.pth").read_bytes()
    (tmp_path / "m.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "m.pth")


@pytest.mark.parametrize("old", [False, True])
def test_code_is_not_run(tmp_path, capsys, old):
    path = tmp_path / "m.pth"
    if old:
        path.write_bytes(pickle.dumps(Evil()))
    else:
        torch.save({"model": Evil()}, path)
    with pytest.raises(CheckpointError):
        load_checkpoint(path)
    assert "never be printed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "content", [{"state_dict": {}}, [1, 2], {"model": {}}, {"model": {"name": "liif"}}]
)
def test_other_torch_files(tmp_path, content):
    with pytest.raises(CheckpointError, match="not a model checkpoint"):
        load_checkpoint(saved(tmp_path, content))


def test_missing_and_extra_tensors_are_named(tmp_path, weights):
    del weights["imnet.layers.0.bias"]
    weights["surplus"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=r"lacks imnet\.layers\.0\.bias and also has surplus"):
        load_checkpoint(saved(tmp_path, {"model": {**tiny_liif(), "sd": weights}}))


def test_a_wrong_shape_is_named(tmp_path, weights):
    weights["imnet.layers.0.bias"] = torch.zeros(7)
    with pytest.raises(CheckpointError, match=r"\(7,\); its args need \(24,\)"):
        load_checkpoint(saved(tmp_path, {"model": {**tiny_liif(), "sd": weights}}))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_weights_are_named(tmp_path, weights, value):
    weights["imnet.layers.2.weight"][0, 0] = value
    with pytest.raises(CheckpointError, match=r"imnet\.layers\.2\.weight .* NaN or infinite"):
        load_checkpoint(saved(tmp_path, {"model": {**tiny_liif(), "sd": weights}}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: {7: torch.zeros(1), **w}, "not all named by strings"),
        (lambda w: {**w, "imnet.layers.0.bias": torch.zeros(24).to_sparse()}, "sparse"),
        (lambda w: {**w, "imnet.layers.0.bias": torch.zeros(24).long()}, "int64"),
        (lambda w: {**w, "imnet.layers.0.bias": torch.zeros(24).cfloat()}, "complex64"),
        (lambda w: {**w, "imnet.layers.0.bias": 3}, "is int"),
    ],
)
def test_strange_tensors_are_refused(tmp_path, weights, change, words):
    with pytest.raises(CheckpointError, match=words):
        load_checkpoint(saved(tmp_path, {"model": {**tiny_liif(), "sd": change(weights)}}))


def test_defaults_are_written_out(tmp_path):
    spec = tiny_clit()
    del spec["args"]["r"]
    path = tmp_path / "m.pth"
    save_checkpoint(path, spec, ruled_weights(build_model(spec).state_dict()))
    assert load_checkpoint(path).spec["args"]["r"] == 3


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            {"name": "thera", "args": {"encoder_spec": tiny_encoder()}},
            "family 'thera'.*clit, liif, lit, lte",
        ),
        (tiny_liif(encoder_spec={"name": "vgg", "args": {}}), "encoder 'vgg'"),
        (tiny_liif(encoder_spec="edsr"), "encoder spec is 'edsr'"),
        (tiny_liif(encoder_spec={"name": ["edsr"]}), "encoder spec is .*'name' and 'args'"),
        (tiny_liif(encoder_spec=tiny_encoder(blocks=10**9)), "n_resblocks .* is 1000000000"),
        (tiny_liif(encoder_spec={"name": "span", "args": {"img_range": "1"}}), "must be a number"),
        (tiny_liif(cell_decode=1), "true or false"),
        (tiny_liif(encoder_spec={"name": "edsr", "args": {"depth": 3}}), "not support: depth"),
        (tiny_liif(encoder_spec={"name": "edsr", "args": {}}), "has its upsampler"),
        (tiny_liif(twist=1), "not support: twist"),
        (tiny_liif(encoder_spec={"name": "rdn", "args": {}}), "has its upsampler"),
        (
            tiny_liif(
                encoder_spec={"name": "rdn", "args": {"no_upsampling": True, "RDNconfig": "C"}}
            ),
            "'C' is not supported",
        ),
        (tiny_lte(hidden_dim=5), "must be even"),
        ({"name": "liif", "args": {}}, "encoder_spec"),
        (tiny_liif(imnet_spec=None), "imnet_spec"),
        (tiny_clit(head=5), "not a multiple of 5"),
        (tiny_clit(local_attn=False), "without local attention"),
        (tiny_clit(imnet_num=1), "3 attention stages but 1"),
        (tiny_clit(pb_spec=posenc("fourier")), "Unknown position encoding 'fourier'"),
        (tiny_clit(pb_spec=posenc("sinusoid", complex_transform=True)), "must be false"),
        (tiny_clit(pb_spec=posenc("sinusoid", phase=1)), "not support: phase"),
        (tiny_clit(pb_spec=posenc("dpb", enc_dims=16, hidden_dims=8)), "only if they are equal"),
        (tiny_lit(head=3), "not a multiple of 3"),
        (tiny_lit(local_ensemble=True), "no published configuration"),
        (tiny_lit(pe_spec=None), "no pe_spec"),
        (tiny_lit(pe_spec=posenc("sinusoid", enc_dims=16)), "must be true"),
        (
            tiny_lit(pe_spec=posenc("dpb", complex_transform=True, enc_dims=8, hidden_dims=8)),
            "no waves",
        ),
        (
            tiny_lit(pe_spec=posenc("learn", complex_transform=True, enc_dims=16, hidden_dims=8)),
            "4 waves, but the frequency branch 8 channels",
        ),
        ({"args": {}}, "'name' and 'args'"),
        ({"name": "liif", "args": ["a"]}, "not a mapping"),
        (tiny_clit(head=0), "at least 1"),
        (tiny_clit(r=0), "at least 1"),
        (tiny_clit(stages=0), "at least 1"),
        (tiny_liif(imnet_spec={"name": "mlp", "args": {"out_dim": 1, "hidden_list": [8]}}), "RGB"),
        (
            tiny_liif(imnet_spec={"name": "mlp", "args": {"out_dim": 3, "hidden_list": [-8]}}),
            "at least 1",
        ),
        (
            tiny_clit(pb_spec={"name": "p", "args": {"posenc_type": "sinusoid", "enc_dims": 30}}),
            "not a multiple of 4",
        ),
    ],
)
def test_unsupported_specs_say_what_they_lack(spec, words):
    with pytest.raises(UnsupportedModelError, match=words):
        build_model(spec)


def test_an_encoder_alone_is_named_by_what_it_holds(tmp_path, weights):
    alone = {k.removeprefix("encoder."): v for k, v in weights.items() if k.startswith("encoder.")}
    with pytest.raises(CheckpointError, match=r"found a mapping with sub_mean\.weight, .* more"):
        load_checkpoint(saved(tmp_path, alone))


def test_weights_of_another_family_are_named(tmp_path, weights):
    with pytest.raises(CheckpointError, match=r"lte with encoder edsr-baseline.* lacks coef\.bias"):
        load_checkpoint(saved(tmp_path, {"model": {**tiny_lte(), "sd": weights}}))


def test_layers_beyond_those_of_the_file_are_not_built(tmp_path, weights):
    spec = tiny_liif(encoder_spec=tiny_encoder(blocks=60_000))
    with pytest.raises(UnsupportedModelError, match=f"far more layers than the {len(weights)}"):
        load_checkpoint(saved(tmp_path, {"model": {**spec, "sd": weights}}))
    assert torch.is_grad_enabled(), "whoever trains afterwards needs gradients"


def test_weights_that_the_file_does_not_hold_take_no_memory(tmp_path):
    """Tensors of stride 0 make a file of a few kilobytes describe 10 gigabytes."""
    spec = tiny_liif(encoder_spec=tiny_encoder())
    spec["args"]["encoder_spec"]["args"]["n_feats"] = 8192
    with torch.device("meta"):
        own = build_model(spec).state_dict()
    weights = {key: torch.zeros(1).expand(value.shape) for key, value in own.items()}
    path = saved(tmp_path, {"model": {**spec, "sd": weights}})
    assert path.stat().st_size < 100_000
    with pytest.raises(CheckpointError, match=r"take \d+ MB, but the file has 0 MB"):
        load_checkpoint(path)


def test_compressed_parts_are_refused(tmp_path, weights):
    weights["imnet.layers.0.weight"].zero_()
    path = saved(tmp_path, {"model": {**tiny_liif(), "sd": weights}})
    with zipfile.ZipFile(path) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in parts.items():
            file.writestr(name, content)
    with pytest.raises(CheckpointError, match="compressed or overlapping"):
        load_checkpoint(path)


def test_indices_that_the_model_would_not_use_are_refused(tmp_path):
    args = {"img_size": 8, "embed_dim": 8, "depths": [2], "num_heads": [2], "window_size": 4}
    spec = tiny_liif(encoder_spec={"name": "swinir", "args": args})
    weights = ruled_weights(build_model(spec).state_dict())
    assert load_checkpoint(saved(tmp_path, {"model": {**spec, "sd": weights}}))
    name = next(key for key in weights if key.endswith("relative_position_index"))
    weights[name] = weights[name] + 1000
    with pytest.raises(CheckpointError, match="differs from the table of indices"):
        load_checkpoint(saved(tmp_path, {"model": {**spec, "sd": weights}}))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), MemoryError),
        (MemoryError(), MemoryError),
        (RuntimeError("PytorchStreamWriter failed writing file data/3"), OSError),
        (OSError(28, "No space left on device"), OSError),
    ],
)
def test_torch_s_errors_of_memory_and_disk_are_named(error, kind):
    caught = pytest.raises(ClitDeployError, match=r"while reading m\.pth")
    with caught as found, named_torch_errors("reading m.pth"):
        raise error
    assert isinstance(found.value, kind)
    with pytest.raises(RuntimeError, match="something else"), named_torch_errors("reading m.pth"):
        raise RuntimeError("something else")
