"""What TensorRT calls back while it works: a logger and a progress monitor.

C++ lets no exception through. If one arises here, as Ctrl-C does in a program without the handlers
of `system.interrupts`, it is kept and raised after the call.
"""

from __future__ import annotations

import logging
from typing import Any

from clit_deploy.system import interrupts

log = logging.getLogger(__name__)

_LEVELS = {"INTERNAL_ERROR": logging.INFO, "ERROR": logging.INFO, "WARNING": logging.INFO}
"""Errors become exceptions, so nothing is more than information here."""


def make_logger(module: Any, messages: list[str]) -> Any:
    """TensorRT's logger, of which a process has one: keeps errors in `messages`, and logs all."""

    class Logger(module.ILogger):  # type: ignore[misc]  # the bindings have no types
        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.raised: BaseException | None = None

        def log(self, severity: Any, message: str) -> None:
            try:
                if severity <= module.ILogger.ERROR:
                    messages.append(message)
                log.log(_LEVELS.get(severity.name, logging.DEBUG), "%s", message)
            except BaseException as error:
                self.raised = error

    return Logger()


def make_monitor(module: Any, logger: Any) -> Any:
    """A progress monitor that cancels a build after a signal; None in versions without monitors."""
    base = getattr(module, "IProgressMonitor", None)
    if base is None:
        return None

    class Monitor(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            base.__init__(self)  # type: ignore[misc]

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            """Part of the interface."""

        def phase_finish(self, phase_name: str) -> None:
            """Part of the interface."""

        def step_complete(self, phase_name: str, step: int) -> bool:  # noqa: ARG002
            """Whether the build goes on."""
            try:
                return not interrupts.requested() and logger.raised is None
            except BaseException as error:
                logger.raised = error
                return False

    return Monitor()
