"""CUDA, as much of it as running engines needs: a thin cover over `cuda-bindings`.

Every call of the bindings returns an error code first; here it becomes an exception. Pointers,
streams and events stay what the bindings make them.
"""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from typing import Any

from clit_deploy.errors import (
    DeviceError,
    DeviceMemoryError,
    GraphRunError,
    RuntimeUnavailableError,
)
from clit_deploy.system.extras import install_command
from clit_deploy.system.jetson import jetson

OLDEST_DRIVER = 12000
"""CUDA version that a driver must offer: 12.0, as cuda-bindings 12 and TensorRT 10 need."""


@dataclass(frozen=True)
class Gpu:
    """What a device says about itself."""

    name: str
    capability: str
    """Compute capability, like `8.7`."""
    processors: int
    """Streaming multiprocessors; Jetson modules of a generation have the same name and
    capability, and differ in these."""
    memory: int
    """Bytes."""
    integrated: bool
    """Whether it shares the machine's memory, as on a Jetson."""
    driver: str
    """The CUDA version that the driver offers, like `12.6`."""


@dataclass(frozen=True)
class Pitched:
    """Where a box of bytes begins, and the bytes from row to row and from plane to plane."""

    pointer: int
    pitch: int
    plane: int


Extent = tuple[int, int, int]


class Cuda:
    """The first visible device. `CUDA_VISIBLE_DEVICES` chooses another one."""

    def __init__(self, api: Any) -> None:
        self.api = api
        self._call("cudaSetDevice", 0)

    def _call(self, name: str, *args: Any) -> Any:
        error, *values = getattr(self.api, name)(*args)
        if int(error) == int(self.api.cudaError_t.cudaSuccess):
            return values[0] if len(values) == 1 else tuple(values)
        kind = getattr(error, "name", str(error))
        if kind == "cudaErrorMemoryAllocation":
            raise DeviceMemoryError(f"Out of device memory in {name}.")
        raise DeviceError(f"CUDA refuses {name}: {kind}.")

    @functools.cached_property
    def gpu(self) -> Gpu:
        """The device."""
        of = self._call("cudaGetDeviceProperties", 0)
        name = of.name.decode() if isinstance(of.name, bytes) else str(of.name)
        return Gpu(
            name.strip("\0 "),
            f"{of.major}.{of.minor}",
            int(of.multiProcessorCount),
            int(of.totalGlobalMem),
            bool(of.integrated),
            show_version(self._call("cudaDriverGetVersion")),
        )

    def memory(self) -> tuple[int, int]:
        """Bytes free and in all."""
        free, total = self._call("cudaMemGetInfo")
        return int(free), int(total)

    # -- memory --------------------------------------------------------------------------------

    def malloc(self, size: int) -> int:
        """Device memory, aligned to 256 bytes."""
        return int(self._call("cudaMalloc", size))

    def free(self, pointer: int) -> None:
        """Give device memory back; waits for the device."""
        self._call("cudaFree", pointer)

    def host_malloc(self, size: int) -> int:
        """Pinned memory of the host, which copies run beside."""
        return int(self._call("cudaHostAlloc", size, 0))

    def host_free(self, pointer: int) -> None:
        """Give pinned memory back."""
        self._call("cudaFreeHost", pointer)

    def copy(self, target: int, source: int, size: int, stream: Any) -> None:
        """Copy bytes between host and device or on it, in a stream's order."""
        self._call("cudaMemcpyAsync", target, source, size, self._any, stream)

    def copy_box(self, target: Pitched, source: Pitched, extent: Extent, stream: Any) -> None:
        """Copy a box of bytes: `extent` is its width in bytes, its rows and its planes."""
        width, rows, planes = extent
        if planes == 1:
            to, start = (target.pointer, target.pitch), (source.pointer, source.pitch)
            self._call("cudaMemcpy2DAsync", *to, *start, width, rows, self._any, stream)
            return
        order = self.api.cudaMemcpy3DParms()
        order.srcPtr, order.dstPtr = (self._pitched(side, width) for side in (source, target))
        order.extent = self.api.make_cudaExtent(width, rows, planes)
        order.kind = self._any
        self._call("cudaMemcpy3DAsync", order, stream)

    def _pitched(self, side: Pitched, width: int) -> Any:
        rows = side.plane // side.pitch
        return self.api.make_cudaPitchedPtr(side.pointer, side.pitch, width, rows)

    def clear(self, pointer: int, size: int, stream: Any) -> None:
        """Fill with zeros."""
        self._call("cudaMemsetAsync", pointer, 0, size, stream)

    @property
    def _any(self) -> Any:
        return self.api.cudaMemcpyKind.cudaMemcpyDefault

    # -- order ---------------------------------------------------------------------------------

    def stream(self) -> Any:
        """A stream that does not wait for the default one."""
        return self._call("cudaStreamCreateWithFlags", self.api.cudaStreamNonBlocking)

    def synchronize(self, stream: Any) -> None:
        """Wait until a stream has done all its work."""
        self._call("cudaStreamSynchronize", stream)

    def destroy_stream(self, stream: Any) -> None:
        """Give a stream back."""
        self._call("cudaStreamDestroy", stream)

    def event(self) -> Any:
        """An event that measures no time, and that the host waits for asleep."""
        flags = int(self.api.cudaEventDisableTiming) | int(self.api.cudaEventBlockingSync)
        return self._call("cudaEventCreateWithFlags", flags)

    def done(self, event: Any) -> bool:
        """Whether an event has come."""
        (error, *_) = self.api.cudaEventQuery(event)
        return int(error) == int(self.api.cudaError_t.cudaSuccess)

    def timed_event(self) -> Any:
        """An event that measures time."""
        return self._call("cudaEventCreate")

    def elapsed(self, start: Any, stop: Any) -> float:
        """Milliseconds between two events that have come."""
        return float(self._call("cudaEventElapsedTime", start, stop))

    def record(self, event: Any, stream: Any) -> None:
        """Let an event stand for all work of a stream so far."""
        self._call("cudaEventRecord", event, stream)

    def wait(self, stream: Any, event: Any) -> None:
        """Let a stream go on only after an event."""
        self._call("cudaStreamWaitEvent", stream, event, 0)

    def wait_here(self, event: Any) -> None:
        """Wait for an event on the host."""
        self._call("cudaEventSynchronize", event)

    def destroy_event(self, event: Any) -> None:
        """Give an event back."""
        self._call("cudaEventDestroy", event)

    # -- graphs --------------------------------------------------------------------------------

    def begin_capture(self, stream: Any) -> None:
        """Record what this thread enqueues from now on, instead of doing it."""
        mode = self.api.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)

    def end_capture(self, stream: Any) -> Any:
        """What was recorded, ready to be launched again and again."""
        graph = self._call("cudaStreamEndCapture", stream)
        try:
            return self._call("cudaGraphInstantiate", graph, 0)
        finally:
            self._call("cudaGraphDestroy", graph)

    def drop_capture(self, stream: Any) -> None:
        """End a recording that failed; whatever it holds is forgotten."""
        _, graph = self.api.cudaStreamEndCapture(stream)
        if graph is not None:
            self._call("cudaGraphDestroy", graph)

    def launch(self, graph: Any, stream: Any) -> None:
        """Do what was recorded."""
        self._call("cudaGraphLaunch", graph, stream)

    def destroy_graph(self, graph: Any) -> None:
        """Give a recorded graph back."""
        self._call("cudaGraphExecDestroy", graph)


def open_cuda() -> Cuda:
    """CUDA on the first visible device.

    Raises:
        RuntimeUnavailableError: no bindings, no driver, a driver too old, or no device.
    """
    api = _checked(_bindings())
    try:
        return Cuda(api)
    except GraphRunError as error:
        raise RuntimeUnavailableError(f"The GPU cannot be used: {error}") from error


def _bindings() -> Any:
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except ImportError as error:
        extras = ["jetson"] if jetson() else ["tensorrt-cu12", "tensorrt-cu13", "rtx"]
        raise RuntimeUnavailableError(
            "CUDA needs the package cuda-bindings, which this Python does not have. Install it "
            f"with {', or '.join(map(install_command, extras))}."
        ) from error


def _checked(api: Any) -> Any:
    """The bindings, if a driver and a device are there for them."""
    error, version = api.cudaDriverGetVersion()
    if int(error) or not version:
        raise RuntimeUnavailableError(
            "There is no NVIDIA driver on this machine (or it does not start); install one, or use "
            "--runtime cpu."
        )
    if version < OLDEST_DRIVER:
        raise RuntimeUnavailableError(
            f"The NVIDIA driver offers CUDA {show_version(version)}; "
            f"{show_version(OLDEST_DRIVER)} is the oldest that will do. Update the driver, or use "
            "--runtime cpu."
        )
    error, count = api.cudaGetDeviceCount()
    kind = getattr(error, "name", "")
    if kind == "cudaErrorInsufficientDriver":
        raise RuntimeUnavailableError(
            f"The NVIDIA driver offers CUDA {show_version(version)}, which is too old for the "
            "installed cuda-bindings. Update the driver, or install cuda-bindings of its version."
        )
    if int(error) or not count:
        raise RuntimeUnavailableError(
            f"CUDA finds no device ({kind or 'none'}). Is CUDA_VISIBLE_DEVICES empty? "
            "Otherwise use --runtime cpu."
        )
    return api


def show_version(number: int) -> str:
    """12060 -> `12.6`."""
    return f"{number // 1000}.{number % 1000 // 10}"
