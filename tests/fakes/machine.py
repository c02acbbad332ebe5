"""A machine with a fake device and a fake TensorRT on it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from clit_deploy.engines.build import build_engines
from clit_deploy.runtimes.cuda.cuda_api import Cuda
from clit_deploy.runtimes.trt.engine_builder import BuildOptions
from clit_deploy.runtimes.trt.engine_runtime import EngineRuntime
from clit_deploy.runtimes.trt.tensorrt_api import Flavour, TensorRT
from tests.fakes.cuda import FakeCuda
from tests.fakes.tensorrt import FakeRtx, FakeTensorRT


@dataclass
class Machine:
    api: FakeCuda
    cuda: Cuda
    trt: TensorRT

    @classmethod
    def make(cls, flavour=Flavour.TENSORRT, *, noise=0.0, version="10.3.0", **device):
        api = FakeCuda(**device)
        module = (FakeRtx if flavour is Flavour.RTX else FakeTensorRT)(api, version, noise)
        return cls(api, Cuda(api), TensorRT(flavour, module))

    @property
    def module(self):
        """The fake module behind `trt`."""
        return self.trt.trt

    def built(self, plan, limits=None):
        """The plan with engines for this machine, in memory."""
        options = BuildOptions((self.cuda.gpu.capability,) if self.trt.is_rtx else ())
        return build_engines(plan, self.trt, options, limits=limits, gpu=self.cuda.gpu)[0]

    def runtime(self, plan, workers=1):
        """The plan's engines at work. With one worker the order of calls is always the same."""
        runtime = EngineRuntime(self.trt, plan.manifest.engines[-1], self.cuda)
        runtime.work_limits = dataclasses.replace(runtime.work_limits, workers=workers)
        return runtime
