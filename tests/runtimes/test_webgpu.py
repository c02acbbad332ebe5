"""Plans on a real adapter of WebGPU, or on SwiftShader, which plays one on a CPU.

The placement of all graphs takes a second. Runs take seconds each, nearly all of them for compiling
shaders, so all but one are slow tests.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import clit_deploy
from clit_deploy.errors import ClitDeployError
from clit_deploy.plan.plan_file import Plan
from clit_deploy.render.layout import Layout
from clit_deploy.runtimes.webgpu import vulkan_devices
from clit_deploy.runtimes.webgpu.plugin import NAME, check_installed, found_adapters, tried
from clit_deploy.runtimes.webgpu.webgpu_runtime import open_webgpu
from clit_deploy.zoo.named_models import named_models
from tests.helpers import cli, photo, tiny_checkpoint, tiny_liif

SWIFTSHADER = Path("/usr/lib/chromium/vk_swiftshader_icd.json")
ENCODERS = {
    "edsr": {"n_resblocks": 1, "n_feats": 8},
    "rcan": {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 8, "reduction": 4},
    "rdn": {"RDNconfig": "B", "G0": 8},
    "span": {"n_feats": 8, "n_blocks": 2},
    "swinir": {"embed_dim": 8, "depths": [2], "num_heads": [2], "img_size": 16},
}
TOLERANCE = 1e-5
"""Relative to the standard deviation of the CPU's output."""


@pytest.fixture(scope="module")
def device():
    """The adapter under test; without a GPU, a software adapter that has to be named."""
    with pytest.MonkeyPatch.context() as patch:
        try:
            check_installed()
            if not any(adapter.is_gpu for adapter in found_adapters()) and SWIFTSHADER.exists():
                patch.setenv("VK_DRIVER_FILES", str(SWIFTSHADER))
                vulkan_devices.vulkan_devices.cache_clear()
            found = enumerate(found_adapters())
            number, adapter = next((k, one) for k, one in found if one.preference is not None)
            tried(adapter)
        except ClitDeployError as error:
            pytest.skip(str(error))
        except StopIteration:
            pytest.skip("there is no WebGPU adapter, neither a GPU nor Chromium's SwiftShader")
        yield str(number)
    vulkan_devices.vulkan_devices.cache_clear()


def on_cpu(plan, device):
    """The nodes of all graphs of a plan that fall back to the CPU."""
    runtime = open_webgpu(plan, device)
    found = []
    for member in (name for name in plan.manifest.digests if name.endswith(".onnx")):
        session = runtime.runner(plan, member, parallel=True)._session
        for part in session.get_provider_graph_assignment_info():
            assert part.get_nodes()
            if part.ep_name != NAME:
                found += [(member, node.op_type, node.name) for node in part.get_nodes()]
    runtime.close()
    return found


FAMILIES = ["clit", "clit-r1", "clit-ipe", "clit-learn", "liif", "liif-plain", "lit", "lit-learn"]


@pytest.mark.parametrize("name", [*FAMILIES, "lte"])
def test_every_node_of_every_graph_runs_on_the_device(plans, device, name):
    assert on_cpu(Plan.open(plans[name]), device) == []


def test_every_node_of_the_package_s_models_does(device):
    for model in named_models().values():
        assert on_cpu(Plan.open(model.plan), device) == []


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_node_of_every_encoder_does(device, encoder, tmp_path):
    args = {"no_upsampling": True, **ENCODERS[encoder]}
    if encoder == "span":
        del args["no_upsampling"]
    spec = tiny_liif(encoder_spec={"name": encoder, "args": args})
    path = clit_deploy.export_checkpoint(tiny_checkpoint(tmp_path, spec))
    found = [(member, kind) for member, kind, _ in on_cpu(Plan.open(path), device)]
    # SwinIR reads the height and the width of the image, two integers.
    assert found == [("encoder.onnx", "Squeeze")] * (2 if encoder == "swinir" else 0)
    assert difference(path, device, scale=2) <= TOLERANCE


def difference(plan, device, side=6, **request):
    """The largest difference from the CPU, relative to its output's standard deviation."""
    image = photo(side, side + 1)
    outputs = []
    for options in ({"runtime": "cpu"}, {"runtime": "webgpu", "device": device}):
        with clit_deploy.load(plan, **options) as up:
            assert ("WebGPU" in up.runtime.name) == (options["runtime"] == "webgpu")
            outputs.append(up.upscale(image, clip=False, **request))
    return np.abs(outputs[1] - outputs[0]).max() / outputs[0].std()


def test_it_computes_what_the_cpu_computes(plans, device):
    assert difference(plans["liif-plain"], device, scale=2) <= TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FAMILIES, "lte"])
def test_every_family_does_and_a_cascade_does(plans, device, name):
    scale = 5 if name == "clit-r1" else 2
    assert difference(plans[name], device, side=3, scale=scale) <= TOLERANCE


@pytest.mark.slow
def test_tiles_do(plans, device):
    """Several encoder tiles, blocks and chunks."""
    image, outputs = photo(40, 41), []
    for options in ({"runtime": "cpu"}, {"runtime": "webgpu", "device": device}):
        with clit_deploy.Upscaler(plans["liif"], layout=Layout(32, 64), **options) as up:
            outputs.append(up.upscale(image, size=(70, 80), clip=False))
    assert np.abs(outputs[1] - outputs[0]).max() <= TOLERANCE * outputs[0].std()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clit-r1", "liif"])
def test_points_and_attention_do(plans, device, name):
    image, coords = photo(5, 5), np.random.RandomState(0).uniform(-1, 1, (9, 2))
    found = []
    for options in ({"runtime": "cpu"}, {"runtime": "webgpu", "device": device}):
        with clit_deploy.load(plans[name], **options) as up:
            maps = up.attention(image, (3, 4), scale=5) if name.startswith("clit") else []
            found.append([up.query(image, coords), *maps])
    for expected, got in zip(*found, strict=True):
        assert np.abs(got - expected).max() <= TOLERANCE * max(expected.std(), 1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clit-r1", "liif"])
def test_fp16_does_where_the_adapter_has_it(plans, device, name, tmp_path):
    if not tried(found_adapters()[int(device)]).fp16:
        pytest.skip("this adapter does not compute in FP16")
    checkpoint = plans[name].with_suffix(".pth")
    path = clit_deploy.export_checkpoint(checkpoint, tmp_path / "half.plan", precision="fp16")
    assert difference(path, device, scale=2) <= 2e-2


@pytest.mark.slow
def test_the_command_line_runs_it(plans, device, tmp_path):
    from PIL import Image

    Image.fromarray(photo(6, 6)).save(tmp_path / "in.png")
    line = ["run", "-e", plans["liif-plain"], tmp_path / "in.png", "-s", "2"]
    done = cli(*line, "-o", tmp_path / "out.png", "--runtime", "webgpu", "--device", device)
    assert done.returncode == 0, done.stderr
    assert "WebGPU" in done.stdout
    assert (tmp_path / "out.png").exists()
