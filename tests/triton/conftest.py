"""The real server with a tiny plan, and clients of both protocols."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.triton_server import NoTritonError, TritonEnvironment, serving
from clit_deploy.plan.plan_file import Plan
from clit_deploy.triton.model_repository import write_repository
from clit_deploy.triton.model_settings import ModelSettings

PIXELS, QUEUE = 1_000_000, 4
"""Limits of the server of most tests."""
TYPES = {"O": "BYTES", "f": "FP32", "i": "INT32", "u": "UINT8"}


@pytest.fixture(scope="session")
def triton_environment():
    named = os.environ.get("CLIT_DEPLOY_TRITON")
    if not named:
        pytest.skip("CLIT_DEPLOY_TRITON names no environment with nvidia-pytriton")
    for module in ("tritonclient.http", "tritonclient.grpc"):
        pytest.importorskip(module, exc_type=ImportError)
    try:
        return TritonEnvironment.of(Path(named).resolve())
    except NoTritonError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def triton_server(triton_environment, tiny_plan, tmp_path_factory):
    work = tmp_path_factory.mktemp("triton")
    settings = ModelSettings(max_pixels=PIXELS, queue=QUEUE, threads=1)
    write_repository(Plan.open(tiny_plan), work / "models", "upscale", settings)
    with serving(triton_environment, work / "models", work) as server:
        yield server


class Client:
    """A client of one protocol."""

    def __init__(self, protocol, address):
        self._triton = importlib.import_module(f"tritonclient.{protocol}")
        self.raw = self._triton.InferenceServerClient(address)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.raw.close()

    def inputs(self, tensors):
        made = []
        for name, value in tensors.items():
            tensor = tensor_of(name, value)
            made.append(self._triton.InferInput(name, tensor.shape, TYPES[tensor.dtype.kind]))
            made[-1].set_data_from_numpy(tensor)
        return made

    def ask(self, output="IMAGE", timeout=None, **tensors):
        options = {"client_timeout": timeout} if timeout else {}
        outputs = [self._triton.InferRequestedOutput(output)]
        found = self.raw.infer("upscale", self.inputs(tensors), outputs=outputs, **options)
        made = found.as_numpy(output)
        return made[0] if output == "IMAGE" else made


def tensor_of(name, value):
    if isinstance(value, (bytes, str)):
        return np.array([value if isinstance(value, bytes) else value.encode()], np.object_)
    kind = {"SIZE": np.int32, "PIXELS": np.uint8}.get(name, np.float32)
    return np.atleast_1d(np.asarray(value, kind))


@pytest.fixture
def http_client(triton_server):
    with Client("http", triton_server.http) as client:
        yield client


@pytest.fixture
def grpc_client(triton_server):
    with Client("grpc", triton_server.grpc) as client:
        yield client


@pytest.fixture(params=["http", "grpc"])
def client(request):
    return request.getfixturevalue(f"{request.param}_client")
