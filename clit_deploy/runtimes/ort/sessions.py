"""Options of ONNX Runtime sessions, and its errors in the words of this package."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

import onnxruntime as ort

from clit_deploy.config import Precision
from clit_deploy.errors import ClitDeployError, DeviceError, GraphRunError, MemoryBudgetError
from clit_deploy.system.proc_files import text
from clit_deploy.system.threads import thread_limit_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clit_deploy.runtimes.usage import Usage

log = logging.getLogger(__name__)

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"

CPUINFO = Path("/proc/cpuinfo")

_NOT_FOR_INT8 = ["MatMulAddFusion"]
"""Makes a Gemm of a product and its bias. There is no int8 kernel of a Gemm with a float bias."""

ONE_RELU = bytes.fromhex(
    "080812003a330a0c0a0178120179220452656c751201705a0f0a0178120a0a08080112040a020801620f0a0179"
    "120a0a08080112040a02080142040a001012"
)
"""The smallest ONNX file: y = Relu(x)."""

_NO_THREAD = ("pthread", "Resource temporarily unavailable", "thread constructor failed")
"""Parts of the messages of the C++ library where it cannot start a thread."""


_NO_MEMORY = ("alloc", "out of memory", "outofmemory", "max buffer size", "supported maximum of")
_LOST = ("device lost", "device is lost", "device was lost", "device_lost")
"""The same of memory, and of a GPU that the driver reset or that was removed."""


def usable_cpus() -> int:
    """CPU cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def provider_starts(provider: str) -> bool:
    """Whether a provider accepts a graph; ONNX Runtime falls back to the CPU without an error."""
    session = ort.InferenceSession(ONE_RELU, _options(1), providers=[provider, CPU])
    return bool(session.get_providers()[0] == provider)


def session_options(precision: str, threads: int) -> tuple[ort.SessionOptions, list[str] | None]:
    """Options for sessions of a plan, and the optimizers of ONNX Runtime that must stay off."""
    options = _options(threads)
    if precision != Precision.INT8:
        return options, None
    if sums_overflow(platform.machine(), CPUINFO):
        log.info("this CPU has no VNNI: INT8 runs on slower, but exact, 16-bit products")
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options, _NOT_FOR_INT8


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    # Spinning threads of an idle session would keep the cores from the other sessions.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def sums_overflow(machine: str, cpuinfo: Path) -> bool:
    """Whether a CPU adds products of bytes in 16 bits, which saturate: x86 without VNNI, or x86
    whose features cannot be read."""
    if machine.lower() not in ("x86_64", "amd64"):
        return False
    try:
        return "vnni" not in text(cpuinfo)
    except OSError:
        return True


@contextlib.contextmanager
def ort_errors(
    verb: str, usage: Usage, memory: type[MemoryBudgetError] = MemoryBudgetError
) -> Iterator[None]:
    """Raise errors of this package: those of ONNX Runtime have no common base, and many lines.

    Args:
        verb: what is done to a graph, `load` or `run`.
        usage: explains a call that failed because it was stopped.
        memory: the error of memory that cannot be allocated.

    Raises:
        DeviceError: the GPU was lost.
        ThreadLimitError, MemoryBudgetError, GraphRunError: what else ONNX Runtime reports.
    """
    try:
        yield
    except ClitDeployError:
        raise
    except Exception as error:
        usage.check()
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if any(words in reason for words in _NO_THREAD):
            raise thread_limit_error() from error
        lower = reason.lower()
        if any(words in lower for words in _LOST):
            raise DeviceError(
                f"The GPU was lost while it ran a graph ({reason:.120}). Run the command again; if "
                "it happens again, update the driver or use --runtime cpu."
            ) from error
        if any(words in lower for words in _NO_MEMORY):
            raise memory(
                f"Out of memory: ONNX Runtime cannot {verb} a graph ({reason:.120}). "
                "Give --max-memory a size that the machine has."
            ) from error
        raise GraphRunError(f"ONNX Runtime cannot {verb} a graph: {reason:.200}") from error
