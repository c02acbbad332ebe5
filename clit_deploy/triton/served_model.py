"""The model that Triton's Python backend loads; only that backend has the module it imports."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import triton_python_backend_utils as pb

from clit_deploy.errors import ClitDeployError, error_message
from clit_deploy.runtimes.ort.sessions import usable_cpus
from clit_deploy.triton.image_answer import ImageAnswers
from clit_deploy.triton.image_request import IMAGE, PIXELS, ImageRequest
from clit_deploy.triton.model_settings import PLAN, ModelSettings
from clit_deploy.triton.request_failures import RequestFailures
from clit_deploy.upscaler import load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SECONDS_BETWEEN_CHECKS = 0.05
"""A check for cancellation is a message to another process."""


class ServedModel:
    """An `Upscaler` as Triton's `TritonPythonModel`. A request that fails gets an error, and the
    instance goes on."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the plan beside `model.py`.

        Raises:
            TritonModelException: the settings or the plan cannot be used; it has the message.
        """
        _check_numpy()
        if args["model_instance_kind"] == "GPU":
            _use_only_gpu(int(args["model_instance_device_id"]))
        folder = Path(args["model_repository"]) / args["model_version"]
        try:
            settings = ModelSettings.of_config(json.loads(args["model_config"]))
            self._up = load(
                folder / PLAN,
                runtime=settings.runtime.value,
                threads=settings.threads or max(usable_cpus() // settings.instances, 1),
                max_memory=settings.memory_of_instance(),
                rebuild=settings.rebuild,
                device=settings.device,
            )
        except ClitDeployError as error:
            raise pb.TritonModelException(error_message(error)) from error
        self._failures = RequestFailures(args["model_name"])
        self._answers = ImageAnswers(self._up, settings.pixel_limit(self._up.max_memory))

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer requests, one after the other."""
        return [self._response(request) for request in requests]

    def finalize(self) -> None:
        """Release the runtime's threads and graphs."""
        self._up.close()

    def _response(self, request: Any) -> Any:
        try:
            tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
            wanted = ImageRequest.of(tensors, request.requested_output_names())
            made = self._answers.answer(wanted, _sparing(request.is_cancelled))
        except Exception as error:  # any failure: the instance must go on
            return self._failures.response(error)
        if isinstance(made, bytes):
            return pb.InferenceResponse([pb.Tensor(IMAGE, np.array([made], np.object_))])
        return pb.InferenceResponse([pb.Tensor(PIXELS, made)])


def _sparing(is_cancelled: Callable[[], bool]) -> Callable[[], bool]:
    """The same, called at most once in `SECONDS_BETWEEN_CHECKS`."""
    last = -math.inf

    def cancelled() -> bool:
        nonlocal last
        if time.monotonic() - last < SECONDS_BETWEEN_CHECKS:
            return False
        last = time.monotonic()
        return is_cancelled()

    return cancelled


def _use_only_gpu(number: int) -> None:
    """Hide the other GPUs from this process, before it uses CUDA for the first time."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    chosen = visible.split(",")[number] if visible else str(number)
    os.environ["CUDA_VISIBLE_DEVICES"] = chosen


def _check_numpy() -> None:
    """Refuse a numpy that this Triton reads wrongly: up to 24.10 it needs numpy 1, and with
    another one the process would die at the first request.

    Raises:
        TritonModelException: with what to install.
    """
    if int(np.__version__.split(".")[0]) < 2:
        return
    sent = np.arange(1, 4, dtype=np.int32)
    if not np.array_equal(pb.Tensor.from_dlpack("numbers", sent).as_numpy(), sent):
        raise pb.TritonModelException(
            f"This Triton cannot use numpy {np.__version__}; install 'numpy<2' into the Python "
            "that it runs."
        )
