"""What becomes of errors: an answer with a code of Triton, and a number among its metrics."""

from __future__ import annotations

import logging
from typing import Any

import triton_python_backend_utils as pb

from clit_deploy.errors import (
    CancelledError,
    ClitDeployError,
    GraphRunError,
    MemoryBudgetError,
    PlanError,
    RuntimeUnavailableError,
    error_message,
)

log = logging.getLogger(__name__)

METRIC = "clit_deploy_request_failures"
INVALID, UNAVAILABLE, INTERNAL, CANCELLED = "INVALID_ARG", "UNAVAILABLE", "INTERNAL", "CANCELLED"
"""Names of codes in `pb.TritonError`."""


class RequestFailures:
    """Answers requests that failed, and counts them: Triton itself counts an answer that is an
    error as a success.

    Args:
        model: its name.
    """

    def __init__(self, model: str) -> None:
        self._family = pb.MetricFamily(
            name=METRIC, description="Requests answered with an error", kind=pb.MetricFamily.COUNTER
        )
        self._counts = {
            code: self._family.Metric(labels={"model": model, "code": code})
            for code in (INVALID, UNAVAILABLE, INTERNAL, CANCELLED)
        }

    def response(self, error: Exception) -> Any:
        """The answer to a request that failed, an `InferenceResponse`.

        Args:
            error: why. What nobody expected is logged, and the client gets its name only.
        """
        if isinstance(error, (ClitDeployError, MemoryError)):
            message, code = error_message(error), _code(error)
        else:
            log.error("a request failed", exc_info=error)
            message, code = f"{type(error).__name__}: see the server's log.", INTERNAL
        self._counts[code].increment(1)
        return pb.InferenceResponse(error=pb.TritonError(message, getattr(pb.TritonError, code)))


def _code(error: Exception) -> str:
    if isinstance(error, CancelledError):
        return CANCELLED
    if isinstance(error, (MemoryBudgetError, MemoryError, RuntimeUnavailableError)):
        return UNAVAILABLE
    if isinstance(error, (PlanError, GraphRunError, ArithmeticError, OSError)):
        return INTERNAL
    return INVALID
