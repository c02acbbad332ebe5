"""ONNX Runtime: the CPU everywhere, CUDA where its execution provider is installed."""

from __future__ import annotations

import ctypes
import logging
import os
import weakref
from typing import TYPE_CHECKING

import onnxruntime as ort

from clit_deploy.config import RuntimeName, member
from clit_deploy.errors import RuntimeUnavailableError
from clit_deploy.runtimes.cuda.cuda_api import open_cuda
from clit_deploy.runtimes.cuda.device_arrays import DeviceArrays
from clit_deploy.runtimes.host_arrays import HostArrays
from clit_deploy.runtimes.ort.ort_layers import LayerTrace
from clit_deploy.runtimes.ort.ort_runners import BoundRunner, OrtRunner, run_options
from clit_deploy.runtimes.ort.sessions import (
    CPU,
    CUDA,
    ort_errors,
    provider_starts,
    session_options,
    usable_cpus,
)
from clit_deploy.runtimes.protocols import ON_DEVICE, on_cpu
from clit_deploy.runtimes.usage import Usage
from clit_deploy.system.gpu_nodes import check_nvidia_driver

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.runtimes.protocols import Arrays, LayerTime, Runner, Runtime

log = logging.getLogger(__name__)


def open_runtime(name: str, threads: int | None = None) -> Runtime:
    """Open the runtime of that name; `auto` uses CUDA if it starts, otherwise the CPU.

    Args:
        name: `cpu`, `cuda` or `auto`.
        threads: CPU threads; None uses all cores that this process may use.

    Raises:
        OptionError: the name is unknown.
        RuntimeUnavailableError: CUDA is requested, but it is not installed or does not start.
    """
    kind = member(RuntimeName, name, "runtime")
    if kind not in (RuntimeName.AUTO, RuntimeName.CPU, RuntimeName.CUDA):
        raise RuntimeUnavailableError(
            f"ONNX Runtime does not provide {kind.value} without a plugin; it runs on cpu and cuda."
        )
    offered = ort.get_available_providers()
    cuda = False
    if kind is not RuntimeName.CPU and CUDA in offered:
        if hasattr(ort, "preload_dlls"):  # libraries that pip installed; 1.21 and newer
            ort.preload_dlls()
        cuda = provider_starts(CUDA)
        if not cuda and kind is RuntimeName.AUTO:
            log.warning("The CUDA provider of ONNX Runtime does not start; the CPU is used.")
    if kind is RuntimeName.CUDA and not cuda:
        check_nvidia_driver()  # no package helps without one
        found = "its CUDA provider does not start (are CUDA and cuDNN installed?)"
        raise RuntimeUnavailableError(
            "ONNX Runtime cannot use CUDA: "
            + (found if CUDA in offered else f"it offers only {', '.join(offered)}")
            + ". Install it with 'pip uninstall onnxruntime && pip install onnxruntime-gpu[cuda,"
            "cudnn]', or use --runtime cpu."
        )
    log.info(
        "runtime %s: %s (providers: %s)",
        kind.value,
        "cuda" if cuda else "cpu",
        offered,
    )
    return OrtRuntime(cuda, threads or usable_cpus(), _device() if cuda else None)


def _device() -> DeviceArrays | None:
    """The device's memory, or None if Python cannot access it."""
    try:
        return DeviceArrays(open_cuda())
    except RuntimeUnavailableError as error:
        log.warning("features and maps travel to the host between graphs, which is slow: %s", error)
        return None


class OrtRuntime:
    """Sessions of ONNX Runtime on one device.

    On the CPU a decoder runs on one thread, and as many chunks as there are threads run at once:
    a chunk then stays in the cache of its own core, and slices and transposes, which ONNX Runtime
    does not split over threads, run in parallel as well.

    On CUDA with `device` tensors stay there between graphs. Without it, every run uploads its
    inputs and downloads its output.
    """

    def __init__(self, cuda: bool, threads: int, device: DeviceArrays | None = None) -> None:
        place = "CUDA" if cuda else f"CPU, {threads} thread{'s' * (threads > 1)}"
        self.name = f"onnxruntime {ort.__version__} ({place})"
        self.work_limits = ON_DEVICE if cuda else on_cpu(threads)
        self.arrays: Arrays = device or HostArrays()
        self.on_device = cuda
        self._device = device
        self._threads = threads
        self._trace: LayerTrace | None = None
        self._run_options = run_options(on_device=device is not None)
        self._usage = Usage(self._terminate)
        self._providers: list[object] = [CPU]
        if cuda:
            # TF32 would round the products of FP32 graphs to ten bits.
            options: dict[str, object] = {
                "use_tf32": 0,
                # Shapes change from block to block: no search for each, no memory taken ahead.
                "cudnn_conv_algo_search": "HEURISTIC",
                "arena_extend_strategy": "kSameAsRequested",
            }
            if device:
                options["user_compute_stream"] = str(int(device.compute))
            self._providers = [(CUDA, options), CPU]

    def runner(
        self, plan: Plan, member: str, *, parallel: bool, dims: Mapping[str, int] | None = None
    ) -> Runner:
        """Open a session; see `Runtime.runner`.

        Raises:
            GraphRunError: ONNX Runtime cannot load the graph.
            MemoryBudgetError: it cannot allocate the graph's weights.
            ThreadLimitError: it cannot start its threads.
            ClosedError: the runtime is closed, or was opened before a fork.
        """
        precision = plan.manifest.precision
        options, disabled = session_options(precision, self._threads if parallel else 1)
        # A parallel run is rare and large: its memory goes back to the system after each run.
        options.enable_cpu_mem_arena = not parallel
        for dim, value in (dims or {}).items():
            options.add_free_dimension_override_by_name(dim, value)
        graph = plan.read(member)
        with self._usage, ort_errors("load", self._usage):
            if self._trace:
                self._trace.prepare(options)
            session = self._session(graph, options, disabled)
        _SESSIONS.add(session)
        runner = self._runner(session)
        return self._trace.timed(member, session, runner) if self._trace else runner

    def _session(
        self, graph: bytes, options: ort.SessionOptions, disabled: list[str] | None
    ) -> ort.InferenceSession:
        return ort.InferenceSession(
            graph, options, providers=self._providers, disabled_optimizers=disabled
        )

    def _runner(self, session: ort.InferenceSession) -> Runner:
        shared = self._run_options, self._usage
        if self._device:
            return BoundRunner(session, *shared, self._device)
        return OrtRunner(session, *shared)

    def start_layers(self) -> None:
        """See `LayerProfiler`."""
        self._trace = LayerTrace()

    def layers(self) -> Sequence[LayerTime]:
        """See `LayerProfiler`."""
        trace, self._trace = self._trace, None
        return trace.take() if trace else []

    def close(self) -> None:
        """Stop runs that are under way, and release the device. Sessions go with their runners."""
        if self._usage.close() and self._device:
            self._device.close()

    def _terminate(self) -> None:
        self._run_options.terminate = True


_SESSIONS: weakref.WeakSet[ort.InferenceSession] = weakref.WeakSet()


def _keep_sessions() -> None:
    """Let no session end in a forked child: its end waits for threads that the child lacks."""
    for session in _SESSIONS:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_keep_sessions)
