import numpy as np
import pytest
import torch

import clit_deploy
from clit_deploy.errors import OptionError, OutputError, ParityError
from clit_deploy.export import checkpoint_export, export_parity
from clit_deploy.grid.cascade import factors
from clit_deploy.plan.plan_file import Plan
from clit_deploy.quality.parity import compare_samples, stored_samples
from tests.helpers import ruled_weights, save_checkpoint, tiny_checkpoint, tiny_clit, tiny_liif


def test_the_default_name_is_the_checkpoint_s(tmp_path):
    path = clit_deploy.export_checkpoint(tiny_checkpoint(tmp_path, tiny_liif(), "a.b.pth"))
    assert path == tmp_path / "a.b.plan"


def test_an_unknown_precision_is_refused(tmp_path):
    with pytest.raises(OptionError, match=r"'fp8'.*fp32"):
        clit_deploy.export_checkpoint(tmp_path / "x.pth", precision="fp8")


def test_a_graph_that_is_wrong_stops_the_export(tmp_path, monkeypatch):
    """The parity check is real: one weight changed in one graph, and no plan is written."""
    checkpoint = tiny_checkpoint(tmp_path, tiny_clit())
    describe = checkpoint_export._bytes

    def sabotage(model, half_weights):
        if model.graph.name == "stage1.decode":
            for init in model.graph.initializer:
                if list(init.dims) == [24, 24]:
                    values = np.frombuffer(init.raw_data, np.float32).copy()
                    values[:8] += 0.05
                    init.raw_data = values.tobytes()
        return describe(model, half_weights)

    monkeypatch.setattr(checkpoint_export, "_bytes", sabotage)
    with pytest.raises(ParityError, match="differ from the model by"):
        clit_deploy.export_checkpoint(checkpoint)
    assert not list(tmp_path.glob("*.plan*"))
    assert not list(tmp_path.glob(".*"))


def test_the_parity_check_runs_every_stage():
    scales = [scale for _, scale in export_parity.CASES]
    assert min(scales) < 4 < sorted(scales)[1] < 16 < max(scales)
    for stages in range(1, 7):
        longest = max(len(factors(scale, stages)) for _, scale in export_parity.cases(stages))
        assert longest == stages


def test_nan_anywhere_fails_the_parity_check(plans):
    plan = Plan.open(plans["liif"])
    samples = stored_samples(plan)
    samples[1].expected[0, 0, 0] = np.nan
    with pytest.raises(ParityError, match="differ from the model by"):
        compare_samples(plan, samples, 2e-4)


def test_an_output_far_outside_of_images_is_the_reason_that_is_given(plans):
    """A model that was never trained on noise may explode on it."""
    plan = Plan.open(plans["liif"])
    samples = stored_samples(plan)
    samples[2].expected[0, 0, 0] = -1400
    with pytest.raises(ParityError, match=r"at x17\.7; .* 5x6 check image reaches 1400, where 0"):
        compare_samples(plan, samples, 2e-4)
    samples[2].expected[0, 0, 0] = 9
    with pytest.raises(ParityError, match="differ from the model by") as caught:
        compare_samples(plan, samples, 2e-4)
    assert "check image" not in str(caught.value)


def test_weights_of_zero_pass(tmp_path):
    spec = tiny_liif()
    weights = {k: v * 0 for k, v in clit_deploy.models.build_model(spec).state_dict().items()}
    save_checkpoint(tmp_path / "m.pth", spec, weights)
    assert clit_deploy.export_checkpoint(tmp_path / "m.pth").is_file()


def test_the_checkpoint_is_never_overwritten(tmp_path):
    path = tiny_checkpoint(tmp_path, tiny_liif(), "m.plan")
    before = path.read_bytes()
    with pytest.raises(OutputError, match="the checkpoint itself"):
        clit_deploy.export_checkpoint(path)
    with pytest.raises(OutputError, match="does not exist"):
        clit_deploy.export_checkpoint(path, tmp_path / "none" / "x.plan")
    assert path.read_bytes() == before


def test_a_model_without_position_bias_or_cell(plans):
    manifest = clit_deploy.plan.plan_file.Plan.open(plans["clit-r1"]).manifest
    assert manifest.stages[0].before == 1
    assert len(manifest.stages) == 2


@pytest.mark.parametrize("act", ["relu", "gelu"])
def test_both_activations(tmp_path, act):
    spec = tiny_clit(stages=1)
    spec["args"]["imnet_spec"]["args"]["act"] = act
    clit_deploy.export_checkpoint(tiny_checkpoint(tmp_path, spec))


def test_the_large_edsr_with_scaled_residuals(tmp_path):
    encoder = {"name": "edsr", "args": {"no_upsampling": True, "n_resblocks": 2, "n_feats": 8}}
    spec = tiny_liif(encoder_spec=encoder)
    model = clit_deploy.models.build_model(spec)
    assert model.encoder.body[0].res_scale == 0.1
    save_checkpoint(tmp_path / "m.pth", spec, ruled_weights(model.state_dict()))
    plan = clit_deploy.export_checkpoint(tmp_path / "m.pth")
    with clit_deploy.load(plan) as up:
        assert up.upscale(np.zeros((4, 4, 3), np.uint8), scale=2).shape == (8, 8, 3)


def test_export_leaves_the_model_s_threads_and_grad_alone(tmp_path):
    before = torch.is_grad_enabled(), torch.get_num_threads()
    clit_deploy.export_checkpoint(tiny_checkpoint(tmp_path, tiny_liif()))
    assert (torch.is_grad_enabled(), torch.get_num_threads()) == before
