"""ONNX Runtime: the CPU everywhere, CUDA where its execution provider is installed."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import onnxruntime as ort

from clit_deploy.config import RuntimeName
from clit_deploy.errors import RuntimeUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from clit_deploy.runtimes.base import Runner, Runtime

log = logging.getLogger(__name__)

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"


def usable_cpus() -> int:
    """Processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def open_runtime(name: RuntimeName, threads: int | None = None) -> Runtime:
    """The runtime of that name; `auto` takes CUDA where ONNX Runtime has it, else the CPU.

    Raises:
        RuntimeUnavailableError: CUDA was asked for, but this ONNX Runtime has no CUDA provider.
    """
    has_cuda = CUDA in ort.get_available_providers()
    if name is RuntimeName.CUDA and not has_cuda:
        raise RuntimeUnavailableError(
            "The CUDA runtime was asked for, but this ONNX Runtime offers only "
            f"{', '.join(ort.get_available_providers())}. Install it with "
            "'pip uninstall onnxruntime && pip install onnxruntime-gpu', or use --runtime cpu."
        )
    if name is RuntimeName.AUTO:
        name = RuntimeName.CUDA if has_cuda else RuntimeName.CPU
        log.info("runtime auto: %s (providers: %s)", name.value, ort.get_available_providers())
    return OrtRuntime(name is RuntimeName.CUDA, threads or usable_cpus())


class OrtRuntime:
    """Sessions of ONNX Runtime on one device.

    On the CPU a decoder runs on one thread, and as many chunks as there are threads run at once:
    a chunk then stays in the cache of its own core, and slices and transposes, which ONNX Runtime
    does not split over threads, run in parallel as well.
    """

    def __init__(self, cuda: bool, threads: int) -> None:
        device = "CUDA" if cuda else f"CPU, {threads} thread{'s' * (threads > 1)}"
        self.name = f"onnxruntime {ort.__version__} ({device})"
        self.workers = 1 if cuda else threads
        self._threads = threads
        self._providers = [CUDA, CPU] if cuda else [CPU]

    def runner(self, graph: bytes, *, wide: bool, dims: Mapping[str, int] | None = None) -> Runner:
        """Open a session; see `Runtime.runner`."""
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = self._threads if wide else 1
        # Idle threads of one session would take the processors from the others.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # A wide run is rare and large: its memory goes back to the system after each run.
        options.enable_cpu_mem_arena = not wide
        for dim, value in (dims or {}).items():
            options.add_free_dimension_override_by_name(dim, value)
        return OrtRunner(ort.InferenceSession(graph, options, providers=self._providers))


class OrtRunner:
    """One session; ONNX Runtime allows concurrent runs of it."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self._inputs = {value.name for value in session.get_inputs()}

    def run(self, feeds: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Run on the inputs that the graph has; others are not its business."""
        wanted = {name: value for name, value in feeds.items() if name in self._inputs}
        output: NDArray[np.float32] = self._session.run(None, wanted)[0]
        return output
