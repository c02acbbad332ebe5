import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

import clit_deploy
from clit_deploy.errors import UnsupportedModelError
from clit_deploy.models import build_model
from clit_deploy.models.bounds import lacks_bounds, measure_bounds, with_bounds
from clit_deploy.models.span import SPAN
from clit_deploy.render.layout import Layout
from tests.helpers import DATA, ruled_weights, tiny_checkpoint, tiny_clit


def small(**changes):
    """Two blocks of four channels, random weights, float64."""
    encoder = SPAN(**{"n_feats": 4, "n_blocks": 2, "img_range": 1.0, **changes})
    encoder.load_state_dict(ruled_weights(encoder.state_dict()))
    return encoder.double().eval()


def test_the_keys_are_those_of_the_merged_network():
    blocks = [f"block_{k}.c{c}_r" for k in (1, 2) for c in (1, 2, 3)]
    layers = ["conv_1", *blocks, "conv_2", "conv_cat"]
    expected = {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    assert set(small().state_dict()) == expected


@torch.no_grad()
def test_the_halo_is_the_receptive_field():
    encoder = small()
    image = torch.zeros(1, 3, 5, 2 * encoder.halo + 11, dtype=torch.float64)
    other = image.clone()
    other[..., 0] = 1
    changed = (encoder(image) - encoder(other)).abs().amax(dim=(0, 1, 2)).nonzero().max().item()
    assert changed == encoder.halo == 8


def test_the_published_size_has_a_halo_of_20():
    encoder = build_model(tiny_clit(encoder_spec={"name": "span", "args": {}})).encoder
    assert (encoder.out_dim, encoder.halo, encoder.exact) == (48, 20, True)


@pytest.mark.data
@torch.no_grad()
def test_official_weights_score_what_they_scored():
    """With its own last convolution and pixel shuffle, the network scores 32.21 dB at x4."""
    with np.load(DATA / "checkpoints" / "span-x4.npz") as file:
        weights = {name: torch.from_numpy(file[name]) for name in file.files}
    encoder = SPAN().eval()
    own = encoder.state_dict()
    encoder.load_state_dict({key: weights[key] for key in own})
    last = [weights[f"upsampler.upsampler.0.{kind}"] for kind in ("weight", "bias")]
    luminance = np.array([65.738, 129.057, 25.064]) / 256
    scores = []
    for path in sorted((DATA / "benchmarks" / "Set5").glob("*.png")):
        high = Image.open(path).convert("RGB")
        high = high.crop((0, 0, high.width // 4 * 4, high.height // 4 * 4))
        low = high.resize((high.width // 4, high.height // 4), Image.Resampling.BICUBIC)
        image = torch.from_numpy(np.asarray(low, np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
        out = functional.pixel_shuffle(functional.conv2d(encoder(image), *last, padding=1), 4)
        # The published network answers in 0..1 and adds no mean at its end.
        result = out[0].permute(1, 2, 0).numpy().clip(0, 1)
        error = (np.round(result * 255) - np.asarray(high, np.float64)) / 255 @ luminance
        scores.append(-10 * np.log10(np.mean(error[4:-4, 4:-4] ** 2)))
    assert np.mean(scores) == pytest.approx(32.21, abs=0.02)


@torch.no_grad()
def test_bounds_change_nothing_on_known_images_and_tame_others():
    images = torch.rand(4, 1, 3, 12, 12, generator=torch.Generator().manual_seed(0)).double()
    free = small()
    bounded = SPAN(n_feats=4, n_blocks=2, img_range=1.0, bounded=True).double().eval()
    # Weights without bounds become those of a bounded network, which has no limits at first.
    bounded.load_state_dict(with_bounds(bounded, free.state_dict()))
    assert lacks_bounds(bounded)
    assert not lacks_bounds(free)
    assert torch.equal(bounded(images[0]), free(images[0]))
    measure_bounds(bounded, images)
    assert not lacks_bounds(bounded)
    for image in images:
        assert torch.equal(bounded(image), free(image))
    block = bounded.block_2.bounds
    reached = []
    for network in (bounded, free):
        network.block_2.register_forward_hook(lambda _, __, out: reached.append(out[0]))
        network(50 * images[0])
    assert torch.all((block.low <= reached[0]) & (reached[0] <= block.high))
    assert not torch.all((block.low <= reached[1]) & (reached[1] <= block.high))
    # Measured again, on less, the limits are tighter.
    wide = block.high.clone()
    measure_bounds(bounded, images[:1])
    assert torch.all(block.high <= wide)
    assert torch.any(block.high < wide)


def test_tiles_equal_the_whole(tmp_path):
    args = {"n_feats": 8, "n_blocks": 2, "img_range": 4.0, "bounded": True}
    spec = tiny_clit(stages=2, encoder_spec={"name": "span", "args": args})
    plan = clit_deploy.export_checkpoint(tiny_checkpoint(tmp_path, spec))
    image = np.random.default_rng(0).random((40, 56, 3), dtype=np.float32)
    results = []
    for layout in (Layout(4096, 4096), Layout(40, 32)):
        with clit_deploy.Upscaler(plan, layout=layout) as up:
            results.append(up.upscale(image, scale=2.5))
    assert np.abs(results[0] - results[1]).max() < 1e-5


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ({"no_upsampling": False}, "no_upsampling is not true"),
        ({"n_blocks": 0}, "n_blocks .* is 0"),
        ({"n_feats": 0}, "n_feats .* is 0"),
    ],
)
def test_options_that_cannot_be_honoured_are_refused(args, named):
    with pytest.raises(UnsupportedModelError, match=named):
        build_model(tiny_clit(encoder_spec={"name": "span", "args": args}))
