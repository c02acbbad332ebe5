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


class Response:
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
    vars(backend).update(InferenceResponse=Response, TritonError=TritonError, Tensor=Tensor)
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", backend)
    monkeypatch.delitem(sys.modules, "clit_deploy.triton.served_model", raising=False)
    yield importlib.import_module("clit_deploy.triton.served_model")
    sys.modules.pop("clit_deploy.triton.served_model")


class Answers:
    def __init__(self, error):
        self.error = error

    def answer(self, request, cancelled):
        raise self.error


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ImageError("IMAGE is cut off."), "invalid", "IMAGE is cut off."),
        (MemoryBudgetError("Too large."), "unavailable", "Too large."),
        (MemoryError(), "unavailable", "MemoryError"),
        (CancelledError("The request was cancelled."), "cancelled", "The request was cancelled."),
        (GraphRunError("It failed."), "internal", "It failed."),
        (PlanError("It was replaced."), "internal", "It was replaced."),
        (KeyError("a detail"), "internal", "KeyError: see the server's log."),
    ],
)
def test_errors_become_codes(served, error, code, message, caplog):
    model = served.ServedModel()
    model._answers = Answers(error)
    request = Request(PIXELS=np.zeros((2, 2, 3), np.uint8), SCALE=np.ones(1, np.float32))
    (response,) = model.execute([request])
    assert (response.error.code, str(response.error)) == (code, message)
    assert ("a detail" in caplog.text) == isinstance(error, KeyError)


def test_a_request_without_an_image_is_refused(served):
    (response,) = served.ServedModel().execute([Request(SCALE=np.ones(1, np.float32))])
    assert response.error.code == "invalid"


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
