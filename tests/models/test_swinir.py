import pytest
import torch

from clit_deploy.errors import UnsupportedModelError
from clit_deploy.models import build_model
from clit_deploy.models.swinir import SwinIR, shift_mask
from tests.helpers import ruled_weights

BLOCK_KEYS = (
    "norm1.weight",
    "norm1.bias",
    "attn.relative_position_bias_table",
    "attn.relative_position_index",
    "attn.qkv.weight",
    "attn.qkv.bias",
    "attn.proj.weight",
    "attn.proj.bias",
    "norm2.weight",
    "norm2.bias",
    "mlp.fc1.weight",
    "mlp.fc1.bias",
    "mlp.fc2.weight",
    "mlp.fc2.bias",
)
LAYERS = (
    "conv_first",
    "patch_embed.norm",
    "layers.0.conv",
    "norm",
    "conv_after_body",
    "conv_before_upsample.0",
)


def small(**changes):
    """One block of each kind, in windows of 4, with random weights, float64."""
    options = {"img_size": 8, "embed_dim": 8, "depths": (2,), "num_heads": (2,), "window_size": 4}
    encoder = SwinIR(**{**options, **changes})
    encoder.load_state_dict(ruled_weights(encoder.state_dict()))
    return encoder.double().eval()


def noise(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64) * 2 - 1


def published(**args):
    """A model whose encoder has these args."""
    encoder = {"name": "swinir", "args": args}
    mlp = {"name": "mlp", "args": {"out_dim": 3, "hidden_list": [8]}}
    return build_model({"name": "liif", "args": {"encoder_spec": encoder, "imnet_spec": mlp}})


def test_the_keys_are_those_of_published_checkpoints():
    blocks = "layers.0.residual_group.blocks"
    expected = {f"{blocks}.{index}.{key}" for index in range(2) for key in BLOCK_KEYS}
    expected |= {f"{layer}.{kind}" for layer in LAYERS for kind in ("weight", "bias")}
    assert set(small().state_dict()) == expected | {f"{blocks}.1.attn_mask"}


@pytest.mark.parametrize("args", [{}, {"no_upsampling": True}, {"no_upsampling": False}])
def test_published_args_give_the_published_network(args):
    encoder = published(**args).encoder
    block = encoder.layers[5].residual_group.blocks[5]
    assert block.attn_mask.shape == (36, 64, 64)
    assert block.attn.relative_position_bias_table.shape == (225, 6)
    assert block.mlp.fc1.weight.shape == (360, 180)
    assert (encoder.out_dim, encoder.multiple, encoder.exact) == (64, 8, False)
    assert encoder.halo % encoder.multiple == 0


def test_the_halo_holds_whole_windows():
    assert small(img_size=24, window_size=12).halo == 36


@torch.no_grad()
def test_height_and_width_are_kept():
    assert small()(noise(1, 3, 12, 4)).shape == (1, 64, 12, 4)


def test_offsets_are_numbered_row_first_from_the_upper_left():
    index = small(embed_dim=2, window_size=2).layers[0].residual_group.blocks[0].attn
    expected = [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]
    assert index.relative_position_index.tolist() == expected


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (2, 2), (2, 3)])
def test_the_mask_parts_what_the_shift_has_joined(rows, cols):
    """Against the pixels' true places: a pair is parted if it was not one window's before."""
    window, half = 4, 2
    height, width = rows * window, cols * window
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    area = (y + half) // window * 100 + (x + half) // window
    area = area.roll((-half, -half), dims=(0, 1)).reshape(rows, window, cols, window)
    area = area.transpose(1, 2).reshape(rows * cols, -1)
    expected = -100.0 * (area[:, :, None] != area[:, None])
    assert torch.equal(shift_mask(small().seams, rows, cols), expected.double())


@torch.no_grad()
def test_the_stored_mask_is_that_of_the_training_size_and_is_not_read():
    encoder, image = small(img_size=12), noise(1, 3, 12, 8)
    fresh = SwinIR(img_size=12, embed_dim=8, depths=(2,), num_heads=(2,), window_size=4)
    block = fresh.layers[0].residual_group.blocks[1]
    assert torch.equal(block.attn_mask, shift_mask(fresh.seams, 3, 3))
    before = encoder(image)
    encoder.layers[0].residual_group.blocks[1].attn_mask.fill_(torch.nan)
    assert torch.equal(encoder(image), before)


@torch.no_grad()
@pytest.mark.parametrize("dim", [1, 2])
def test_a_shifted_block_does_not_join_opposite_edges(dim):
    block = small().layers[0].residual_group.blocks[1]
    mask = shift_mask(small().seams, 4, 4)
    image = noise(1, 16, 16, 8)
    other = image.clone()
    other.select(dim, 0).copy_(noise(1, 16, 8, seed=1))
    changed = (block(image, mask) - block(other, mask)).abs().amax(dim=(0, 3 - dim, 3))
    assert (changed > 1e-6).nonzero().flatten().tolist() == [0, 1]
    joined = (block(image, 0 * mask) - block(other, 0 * mask)).abs().amax(dim=(0, 3 - dim, 3))
    assert (joined > 1e-6).nonzero().flatten().tolist() == [0, 1, 14, 15]


@torch.no_grad()
def test_moving_the_image_by_a_window_moves_the_features():
    """Away from the edges; by less than a window it does not."""
    encoder, image = small(), noise(1, 3, 40, 44)
    features = encoder(image)
    inside = (..., slice(16, -16), slice(16, -16))

    def error(*shift):
        moved = encoder(image.roll(shift, dims=(2, 3)))
        return (moved - features.roll(shift, dims=(2, 3)))[inside].abs().max().item()

    assert error(4, 0) < 1e-12
    assert error(-4, 4) < 1e-12
    assert error(2, 0) > 1e-3


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ({"window_size": 7}, "window_size is 7"),
        ({"window_size": 0}, "window_size of the encoder 'swinir' is 0"),
        ({"window_size": -2}, "window_size of the encoder 'swinir' is -2"),
        ({"img_size": 50}, "img_size is 50"),
        ({"img_size": 8}, "img_size is 8"),
        ({"embed_dim": 100}, "embed_dim is 100"),
        ({"num_heads": [6, 6, 6, 6, 6, 0]}, "num_heads"),
        ({"num_heads": [6, 6]}, "cannot be used"),
        ({"depths": [6, 6, 6, 6, 6, 0]}, "depths"),
        ({"upsampler": "pixelshuffle"}, "upsampler"),
        ({"resi_connection": "3conv"}, "resi_connection"),
        ({"ape": True}, "ape"),
    ],
)
def test_options_that_cannot_be_honoured_are_refused(args, named):
    with pytest.raises(UnsupportedModelError, match=named):
        published(**args)
