"""On a device: every runtime that is there gives the processor's picture."""

import numpy as np
import onnxruntime as ort
import pytest

import clit_deploy
from clit_deploy.engines.build import EngineLimits
from clit_deploy.engines.store import build_into
from clit_deploy.errors import ClitDeployError
from clit_deploy.plan.plan_file import Plan
from clit_deploy.runtimes.cuda.cuda_api import open_cuda
from clit_deploy.runtimes.trt.engine_builder import BuildOptions
from clit_deploy.runtimes.trt.tensorrt_api import Flavour, load_tensorrt
from tests.helpers import photo

pytestmark = pytest.mark.gpu

SCALES = (2.6, 6, 17)


def renderings(plan, runtime):
    with clit_deploy.load(plan, runtime=runtime) as up:
        assert up.runtime.name.startswith("onnxruntime") == (runtime in ("cpu", "cuda"))
        for scale in SCALES:
            yield up.upscale(photo(30, 41), scale=scale, clip=False)
        yield up.query(photo(30, 41), np.random.RandomState(0).uniform(-1, 1, (300, 2)))


def largest_difference(plan, runtime):
    pairs = zip(renderings(plan, "cpu"), renderings(plan, runtime), strict=True)
    return max(np.abs(a - b).max() / a.std() for a, b in pairs)


def test_onnx_runtime_on_cuda(plan):
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        pytest.skip("ONNX Runtime has no CUDA provider here")
    assert largest_difference(plan, "cuda") <= 1e-3


@pytest.mark.parametrize("flavour", list(Flavour), ids=lambda flavour: flavour.value)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_engines(plans, flavour, precision, tmp_path):
    try:
        trt, cuda = load_tensorrt(flavour), open_cuda()
    except ClitDeployError as error:
        pytest.skip(str(error))
    capability = cuda.gpu.capability
    known = getattr(trt.trt, "ComputeCapability", None)
    if trt.is_rtx and not hasattr(known, "SM" + capability.replace(".", "")):
        pytest.skip(f"{trt.title} has no compute capability {capability}")
    targets = (capability,) if trt.is_rtx else ()
    for name in ("clit", "lit", "liif", "lte"):
        path = clit_deploy.export_checkpoint(
            plans[name].with_suffix(".pth"), tmp_path / f"{name}.plan", precision=precision
        )
        built = build_into(Plan.open(path), trt, BuildOptions(targets), EngineLimits(), cuda)
        assert built.manifest.engines[-1].relative_error is not None
        limit = 2e-3 if precision == "fp32" else 5e-2
        assert largest_difference(built, flavour.value) <= limit
