import pytest
import torch

from clit_deploy.errors import UnsupportedModelError
from clit_deploy.models import build_model
from clit_deploy.models.rcan import RCAN, ChannelAttention
from tests.helpers import ruled_weights

LAYERS = (
    "sub_mean",
    "add_mean",
    "head.0",
    "body.0.body.0.body.0",
    "body.0.body.0.body.2",
    "body.0.body.0.body.3.conv_du.0",
    "body.0.body.0.body.3.conv_du.2",
    "body.0.body.1",
    "body.1.body.0.body.0",
    "body.1.body.0.body.2",
    "body.1.body.0.body.3.conv_du.0",
    "body.1.body.0.body.3.conv_du.2",
    "body.1.body.1",
    "body.2",
)


def noise(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def small(**changes):
    """Two groups of one block, random weights, float64."""
    options = {"n_resgroups": 2, "n_resblocks": 1, "n_feats": 4, "reduction": 2}
    encoder = RCAN(**{**options, "no_upsampling": True, **changes})
    encoder.load_state_dict(ruled_weights(encoder.state_dict()))
    return encoder.double().eval()


def test_the_keys_are_those_of_published_checkpoints():
    expected = {f"{layer}.{kind}" for layer in LAYERS for kind in ("weight", "bias")}
    assert set(small().state_dict()) == expected


def test_published_args_give_the_published_network():
    mlp = {"name": "mlp", "args": {"out_dim": 3, "hidden_list": [8]}}
    encoder = {"name": "rcan", "args": {"no_upsampling": True}}
    model = build_model({"name": "liif", "args": {"encoder_spec": encoder, "imnet_spec": mlp}})
    weights = model.encoder.state_dict()
    assert weights["body.9.body.19.body.3.conv_du.0.weight"].shape == (4, 64, 1, 1)
    assert weights["body.9.body.20.weight"].shape == (64, 64, 3, 3)
    assert (model.encoder.out_dim, model.encoder.halo, model.encoder.exact) == (64, 32, False)


@torch.no_grad()
def test_with_fixed_shares_the_halo_is_the_receptive_field():
    encoder = small()
    for weight in encoder.parameters():
        weight.fill_(0.1 if weight.ndim > 1 else 0)
    for layer in encoder.modules():
        if isinstance(layer, ChannelAttention):
            layer.conv_du[2].weight.zero_()
    image = torch.zeros(1, 3, 5, 2 * encoder.halo + 11, dtype=torch.float64)
    image[..., 0] = 1
    reached = encoder(image)[0, 0, 2].nonzero().max().item()
    assert reached == encoder.halo == 8


@torch.no_grad()
def test_shares_follow_the_mean_over_the_whole_image():
    layer = small().body[0].body[0].body[3]
    features = noise(1, 4, 6, 10)
    shares = layer(features) / features
    assert torch.allclose(shares, shares[..., :1, :1])
    far = features.clone()
    far[..., -1, -1] += 5
    assert ((layer(far) / far)[..., 0, 0] - shares[..., 0, 0]).abs().min() > 1e-3
    mixed = features.flip(2, 3)
    assert torch.allclose(layer(mixed) / mixed, shares)


@torch.no_grad()
def test_any_sides_do_and_a_far_pixel_matters():
    encoder = small()
    image = noise(1, 3, 7, 40)
    other = image.clone()
    other[..., -1] = 0
    features = encoder(image)
    assert features.shape == (1, 4, 7, 40)
    assert (features - encoder(other))[..., 0].abs().max() > 1e-6


@torch.no_grad()
def test_the_mean_of_the_training_images_is_not_subtracted():
    encoder = small()
    image = noise(1, 3, 8, 8)
    before = encoder(image)
    encoder.sub_mean.bias.fill_(9)
    encoder.add_mean.bias.fill_(9)
    assert torch.equal(encoder(image), before)


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ({"no_upsampling": False}, "no_upsampling is not true"),
        ({"reduction": 0}, "reduction is 0"),
        ({"reduction": 5}, "reduction is 5"),
    ],
)
def test_options_that_cannot_be_honoured_are_refused(args, named):
    with pytest.raises(UnsupportedModelError, match=named):
        small(**args)
