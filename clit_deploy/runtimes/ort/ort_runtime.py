"""ONNX Runtime: the CPU everywhere, CUDA where its execution provider is installed."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from clit_deploy.config import Precision, RuntimeName, member
from clit_deploy.errors import (
    ClitDeployError,
    DeviceMemoryError,
    GraphRunError,
    MemoryBudgetError,
    RuntimeUnavailableError,
)
from clit_deploy.runtimes.cuda.cuda_api import open_cuda
from clit_deploy.runtimes.cuda.device_arrays import DeviceArray, DeviceArrays, dense
from clit_deploy.runtimes.host_arrays import HostArrays
from clit_deploy.runtimes.ort.ort_layers import LayerTrace
from clit_deploy.runtimes.protocols import ON_DEVICE, WorkLimits
from clit_deploy.system.proc_files import text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.runtimes.protocols import Array, Arrays, LayerTime, Runner, Runtime

log = logging.getLogger(__name__)

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"

CPUINFO = Path("/proc/cpuinfo")

_KEPT_FROM_INT8 = ["MatMulAddFusion"]
"""Makes a Gemm of a product and its bias, for which there is no int8 kernel with a float bias."""

_ONE_RELU = bytes.fromhex(
    "080812003a330a0c0a0178120179220452656c751201705a0f0a0178120a0a08080112040a020801620f0a0179"
    "120a0a08080112040a02080142040a001012"
)
"""The smallest ONNX file: y = Relu(x)."""


def usable_cpus() -> int:
    """Processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def open_runtime(name: str, threads: int | None = None) -> Runtime:
    """The runtime of that name; `auto` takes CUDA where it really works, else the CPU.

    Raises:
        OptionError: there is no runtime of that name.
        RuntimeUnavailableError: CUDA was asked for, but is not there or does not start.
    """
    kind = member(RuntimeName, name, "runtime")
    if kind in (RuntimeName.TENSORRT, RuntimeName.TENSORRT_RTX):
        raise RuntimeUnavailableError(
            f"ONNX Runtime has no {kind.value} here; it runs on cpu and cuda."
        )
    offered = ort.get_available_providers()
    cuda = False
    if kind is not RuntimeName.CPU and CUDA in offered:
        if hasattr(ort, "preload_dlls"):  # libraries that pip installed; 1.21 and newer
            ort.preload_dlls()
        cuda = _starts(CUDA)
        if not cuda and kind is RuntimeName.AUTO:
            log.warning("ONNX Runtime has a CUDA provider that does not start; the CPU is used.")
    if kind is RuntimeName.CUDA and not cuda:
        found = "its CUDA provider does not start (are CUDA and cuDNN installed?)"
        raise RuntimeUnavailableError(
            "The CUDA runtime was asked for, but "
            + (found if CUDA in offered else f"this ONNX Runtime offers only {', '.join(offered)}")
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
    """The device's memory, or None where nothing reaches it from Python."""
    try:
        return DeviceArrays(open_cuda())
    except RuntimeUnavailableError as error:
        log.warning("features and maps travel to the host between graphs, which is slow: %s", error)
        return None


def _starts(provider: str) -> bool:
    """Whether a provider takes a graph; ONNX Runtime falls back to the CPU without an error."""
    session = ort.InferenceSession(_ONE_RELU, _options(1), providers=[provider, CPU])
    return bool(session.get_providers()[0] == provider)


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    # Idle threads of one session would take the processors from the others.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def session_options(precision: str, threads: int) -> tuple[ort.SessionOptions, list[str] | None]:
    """How sessions of a plan run, and the graph rewrites of ONNX Runtime's that would hurt."""
    options = _options(threads)
    if precision != Precision.INT8:
        return options, None
    if sums_overflow(platform.machine(), CPUINFO):
        log.info("this processor has no VNNI: INT8 runs on slower, but exact, 16-bit products")
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options, _KEPT_FROM_INT8


def sums_overflow(machine: str, cpuinfo: Path) -> bool:
    """Whether a processor adds products of bytes in 16 bits, which saturate: x86 before VNNI, and
    x86 of which nothing is known."""
    if machine.lower() not in ("x86_64", "amd64"):
        return False
    try:
        return "vnni" not in text(cpuinfo)
    except OSError:
        return True


class OrtRuntime:
    """Sessions of ONNX Runtime on one device.

    On the CPU a decoder runs on one thread, and as many chunks as there are threads run at once:
    a chunk then stays in the cache of its own core, and slices and transposes, which ONNX Runtime
    does not split over threads, run in parallel as well.

    On CUDA with `device` tensors stay there between graphs; without, every run brings its inputs
    and takes its output back.
    """

    def __init__(self, cuda: bool, threads: int, device: DeviceArrays | None = None) -> None:
        place = "CUDA" if cuda else f"CPU, {threads} thread{'s' * (threads > 1)}"
        self.name = f"onnxruntime {ort.__version__} ({place})"
        self.work_limits = ON_DEVICE if cuda else WorkLimits(workers=threads)
        self.arrays: Arrays = device or HostArrays()
        self.on_device = cuda
        self._device = device
        self._threads = threads
        self._trace: LayerTrace | None = None
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
        """Open a session; see `Runtime.runner`."""
        precision = plan.manifest.precision
        options, disabled = session_options(precision, self._threads if parallel else 1)
        # A parallel run is rare and large: its memory goes back to the system after each run.
        options.enable_cpu_mem_arena = not parallel
        for dim, value in (dims or {}).items():
            options.add_free_dimension_override_by_name(dim, value)
        graph = plan.read(member)
        with _translated("load"):
            if self._trace:
                self._trace.prepare(options)
            session = ort.InferenceSession(
                graph, options, providers=self._providers, disabled_optimizers=disabled
            )
        runner = BoundRunner(session, self._device) if self._device else OrtRunner(session)
        return self._trace.timed(member, session, runner) if self._trace else runner

    def start_layers(self) -> None:
        """See `LayerProfiler`."""
        self._trace = LayerTrace()

    def layers(self) -> Sequence[LayerTime]:
        """See `LayerProfiler`."""
        trace, self._trace = self._trace, None
        return trace.take() if trace else []

    def close(self) -> None:
        """Sessions go with their runners."""
        if self._device:
            self._device.close()


class OrtRunner:
    """One session; ONNX Runtime allows concurrent runs of it."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self._inputs = {value.name for value in session.get_inputs()}

    def run(self, feeds: Mapping[str, Array]) -> NDArray[np.generic]:
        """Run on the inputs that the graph has; others are not its business."""
        wanted = {name: value for name, value in feeds.items() if name in self._inputs}
        with _translated("run"):
            output: NDArray[np.generic] = self._session.run(None, wanted)[0]
            return output


class BoundRunner:
    """One session whose inputs and output stay on the device, enqueued on its stream."""

    def __init__(self, session: ort.InferenceSession, device: DeviceArrays) -> None:
        self._session, self._device = session, device
        self._inputs = {value.name: _NUMPY[value.type] for value in session.get_inputs()}
        (self._output,) = session.get_outputs()
        self._options = ort.RunOptions()
        self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self._lock = threading.Lock()

    def run(self, feeds: Mapping[str, Array]) -> Array:
        """Enqueue a run; ONNX Runtime's own pool holds the output for as long as it is used."""
        with self._lock, _translated("run", DeviceMemoryError):
            binding = self._session.io_binding()
            held = {n: self._device.taken(feeds[n], kind, n) for n, kind in self._inputs.items()}
            for name, array in held.items():
                where = "cuda", 0, array.dtype, list(array.shape), array.pointer
                binding.bind_input(name, *where)
            binding.bind_output(self._output.name, "cuda", 0)
            self._session.run_with_iobinding(binding, self._options)
            (value,) = binding.get_outputs()
            dtype, shape = _NUMPY[self._output.type], tuple(value.shape())
            return DeviceArray(value, value.data_ptr(), shape, dense(shape, dtype.itemsize), dtype)


_NUMPY: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
}


@contextlib.contextmanager
def _translated(verb: str, memory: type[MemoryBudgetError] = MemoryBudgetError) -> Iterator[None]:
    """ONNX Runtime's own errors have no common base, and run over many lines."""
    try:
        yield
    except ClitDeployError:
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "alloc" in reason.lower():
            raise memory(
                f"Out of memory: ONNX Runtime cannot {verb} a graph ({reason:.120}). "
                "Give --max-memory a size that the machine has."
            ) from error
        raise GraphRunError(f"ONNX Runtime cannot {verb} a graph: {reason:.200}") from error
