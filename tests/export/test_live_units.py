"""Units that nothing reads are left out of the graphs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import clit_deploy
from clit_deploy.export.live_units import live_units
from clit_deploy.models.mlp import MLP
from clit_deploy.plan.plan_file import Plan
from tests.helpers import mlp, photo, tiny_checkpoint, tiny_clit


def unread(module, layer, units):
    """Make nothing read some units of a hidden layer (from 0)."""
    with torch.no_grad():
        module.linears[layer + 1].weight[:, units] = 0


@pytest.mark.parametrize("act", ["relu", "gelu"])
def test_the_function_stays_and_chains_of_unread_units_go(act):
    torch.manual_seed(0)
    module = MLP(5, 3, [8, 7, 6], act).double()
    unread(module, 2, [1, 4])
    unread(module, 1, [0])
    with torch.no_grad():  # read by units alone that nothing reads
        module.linears[2].weight[[0, 2, 3, 5], 3] = 0
    small = live_units(module)
    assert [layer.out_features for layer in small.linears] == [8, 5, 4, 3]
    x = torch.randn(50, 5, dtype=torch.float64)
    assert torch.allclose(small(x), module(x), atol=1e-12)


def test_an_mlp_whose_units_are_all_read_stays():
    module = MLP(5, 3, [8, 7])
    assert live_units(module) is module


def test_a_layer_keeps_a_unit_where_nothing_is_read():
    module = MLP(5, 3, [8, 7])
    unread(module, 1, slice(None))
    small = live_units(module)
    assert [layer.out_features for layer in small.linears] == [8, 1, 3]
    x = torch.randn(4, 5)
    assert torch.allclose(small(x), module(x))


def test_stages_of_a_cascade_may_have_different_widths(tmp_path):
    path = tiny_checkpoint(tmp_path, tiny_clit(stages=2, imnet_spec=mlp(hidden_list=[16, 16])))
    content = torch.load(path, weights_only=True)
    weights = content["model"]["sd"]
    name = next(
        key for key in weights if "imnet" in key and ".1." in key and key.endswith("4.weight")
    )
    weights[name][:, 5:] = 0
    torch.save(content, tmp_path / "pruned.pth")
    plans = [clit_deploy.export_checkpoint(p) for p in (path, tmp_path / "pruned.pth")]  # parity
    whole, pruned = (Plan.open(plan) for plan in plans)
    for graph in ("stage1.decode.onnx", "stage1.point.onnx"):
        assert len(pruned.read(graph)) < len(whole.read(graph)) - 4 * 11 * 16
    assert pruned.read("stage0.decode.onnx") == whole.read("stage0.decode.onnx")
    stages = pruned.manifest.stages
    assert stages[1].cell_bytes == stages[0].cell_bytes  # the first layer is as wide as before
    with clit_deploy.load(plans[1], runtime="cpu") as up:
        image, at = photo(12, 14), np.array([[0.1, -0.3], [0.9, 0.9]])
        assert up.upscale(image, scale=6).shape == (72, 84, 3)
        assert np.isfinite(up.query(image, at)).all()
