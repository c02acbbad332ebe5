"""What the model does where the real server offers no way to make it happen; the backend's module
is a fake."""

from __future__ import annotations

import importlib
import os
import sys
import types

import numpy as np
import pytest

from clit_deploy.errors import (
    CancelledError,
    GraphRunError,
    ImageError,
    MemoryBudgetError,
    PlanError,
)


class InferenceResponse:
    def __init__(self, tensors=(), error=None):
        self.tensors, self.error = tensors, error


class TritonError(Exception):
    INTERNAL, INVALID_ARG, UNAVAILABLE, CANCELLED = (
        "internal",
        "invalid",
        "unavailable",
        "cancelled",
    )

    def __init__(self, message, code):
        super().__init__(message)
        self.code = code


class Tensor:
    def __init__(self, name, array):
        self._name, self._array = name, array

    def name(self):
        return self._name

    def as_numpy(self):
        return self._array


class MetricFamily:
    COUNTER = "counter"

    def __init__(self, name, description, kind):
        self.counted = []

    def Metric(self, labels):  # noqa: N802
        return types.SimpleNamespace(increment=lambda _: self.counted.append(labels["code"]))


class Request:
    def __init__(self, **tensors):
        self._tensors = tensors

    def inputs(self):
        return [Tensor(name, array) for name, array in self._tensors.items()]

    def requested_output_names(self):
        return {"PIXELS"}

    def is_cancelled(self):
        return False


@pytest.fixture
def served(monkeypatch):
    backend = types.ModuleType("triton_python_backend_utils")
    offered = (InferenceResponse, TritonError, Tensor, MetricFamily)
    vars(backend).update({kind.__name__: kind for kind in offered})
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", backend)
    yield importlib.import_module("clit_deploy.triton.served_model")
    for name in ("served_model", "request_failures"):
        sys.modules.pop(f"clit_deploy.triton.{name}")


class Answers:
    def __init__(self, error):
        self.error = error

    def answer(self, request, cancelled):
        raise self.error


def model_with(served, error):
    model = served.ServedModel()
    model._answers = Answers(error)
    model._failures = served.RequestFailures("upscale")
    return model


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ImageError("IMAGE is cut off."), "INVALID_ARG", "IMAGE is cut off."),
        (MemoryBudgetError("Too large."), "UNAVAILABLE", "Too large."),
        (MemoryError(), "UNAVAILABLE", "MemoryError"),
        (CancelledError("The request was cancelled."), "CANCELLED", "The request was cancelled."),
        (GraphRunError("It failed."), "INTERNAL", "It failed."),
        (PlanError("It was replaced."), "INTERNAL", "It was replaced."),
        (KeyError("a detail"), "INTERNAL", "KeyError: see the server's log."),
    ],
)
def test_errors_become_codes(served, error, code, message, caplog):
    model = model_with(served, error)
    request = Request(PIXELS=np.zeros((2, 2, 3), np.uint8), SCALE=np.ones(1, np.float32))
    (response,) = model.execute([request])
    assert (response.error.code, str(response.error)) == (getattr(TritonError, code), message)
    assert model._failures._family.counted == [code]
    assert ("a detail" in caplog.text) == isinstance(error, KeyError)


def test_a_request_without_an_image_is_refused(served):
    model = model_with(served, KeyError("not reached"))
    (response,) = model.execute([Request(SCALE=np.ones(1, np.float32))])
    assert response.error.code == TritonError.INVALID_ARG


@pytest.mark.parametrize(("visible", "chosen"), [(None, "1"), ("", "1"), ("4,GPU-5", "GPU-5")])
def test_an_instance_uses_its_gpu_alone(served, monkeypatch, visible, chosen):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible or "")
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    served._use_only_gpu(1)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == chosen


def test_cancellation_is_checked_now_and_then(served, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(served, "time", types.SimpleNamespace(monotonic=lambda: clock[0]))
    calls = []
    cancelled = served._sparing(lambda: calls.append(clock[0]) or len(calls) == 2)

    def at(seconds):
        clock[0] = seconds
        return cancelled()

    assert [at(0), at(0.04), at(0.06), at(0.07)] == [False, False, True, False]
    assert calls == [0, 0.06]
