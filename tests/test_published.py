"""The published CLIT configurations (three encoders, one to three stages, 256 channels).

Seven of the nine are reference cases as well, and tested there; these are the other two.
"""

import numpy as np
import pytest

import clit_deploy
from clit_deploy.plan.plan_file import Plan
from tests.helpers import photo, posenc, tiny_checkpoint


def published(encoder: str, stages: int) -> dict:
    bias = posenc("sinusoid", posenc_scale=10, hidden_dims=64, enc_dims=64, gamma=1)
    mlp = {"out_dim": 3, "hidden_list": [256, 256, 256, 256], "act": "gelu"}
    args = {
        "base_dim": 256,
        "head": 8,
        "r": 3,
        "imnet_num": stages,
        "conv_num": stages,
        "is_cell": True,
        "local_attn": True,
        "encoder_spec": {"name": encoder, "args": {"no_upsampling": True}},
        "pb_spec": bias,
        "imnet_spec": {"name": "mlp", "args": mlp},
    }
    return {"name": "clit", "args": args}


@pytest.mark.slow
@pytest.mark.parametrize(("encoder", "stages"), [("rdn", 3), ("swinir", 2)])
def test_it_exports_and_runs(encoder, stages, tmp_path):
    path = clit_deploy.export_checkpoint(tiny_checkpoint(tmp_path, published(encoder, stages)))
    plan = Plan.open(path)
    assert len(plan.manifest.stages) == stages
    assert all(case.relative_error < 2e-4 for case in plan.manifest.proof.cases)
    with clit_deploy.load(plan) as up:
        result = up.upscale(photo(9, 10), scale=1.2 * 4.0 ** (stages - 1))
    assert np.isfinite(result).all()
    assert result.std() > 0.01
