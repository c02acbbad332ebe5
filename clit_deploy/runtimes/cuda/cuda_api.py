"""The part of CUDA that running engines needs: a thin layer over `cuda-bindings`.

Every call of the bindings returns an error code first, which becomes an exception here. Pointers,
streams and events remain those of the bindings.
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
from clit_deploy.system.gpu_nodes import check_nvidia_driver
from clit_deploy.system.jetson import jetson

OLDEST_DRIVER = 12000
"""The CUDA version that a driver must support: 12.0, for cuda-bindings 12 and TensorRT 10."""


@dataclass(frozen=True)
class Gpu:
    """Properties that a device reports."""

    name: str
    capability: str
    """Compute capability, like `8.7`."""
    processors: int
    """Streaming multiprocessors. Jetson modules of one generation share name and capability, and
    differ in this number."""
    memory: int
    """Bytes."""
    integrated: bool
    """Whether it shares the memory of the CPU, as on a Jetson."""
    driver: str
    """The CUDA version that the driver supports, like `12.6`."""


@dataclass(frozen=True)
class Pitched:
    """The address of a box of bytes, and the bytes from row to row and from plane to plane."""

    pointer: int
    pitch: int
    plane: int


Extent = tuple[int, int, int]


class Cuda:
    """CUDA on the first visible device. `CUDA_VISIBLE_DEVICES` selects another one."""

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
        raise DeviceError(f"CUDA call {name} failed: {kind}.")

    @functools.cached_property
    def gpu(self) -> Gpu:
        """The properties of the device."""
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
        """Bytes of free and of total device memory."""
        free, total = self._call("cudaMemGetInfo")
        return int(free), int(total)

    # -- memory --------------------------------------------------------------------------------

    def malloc(self, size: int) -> int:
        """Allocate device memory, aligned to 256 bytes.

        Raises:
            DeviceMemoryError: the device is out of memory.
        """
        return int(self._call("cudaMalloc", size))

    def free(self, pointer: int) -> None:
        """Free device memory; waits for the device."""
        self._call("cudaFree", pointer)

    def host_malloc(self, size: int) -> int:
        """Allocate pinned host memory, whose copies run beside computation."""
        return int(self._call("cudaHostAlloc", size, 0))

    def host_free(self, pointer: int) -> None:
        """Free pinned memory."""
        self._call("cudaFreeHost", pointer)

    def copy(self, target: int, source: int, size: int, stream: Any) -> None:
        """Enqueue a copy of bytes between host and device, or on the device."""
        self._call("cudaMemcpyAsync", target, source, size, self._any, stream)

    def copy_box(self, target: Pitched, source: Pitched, extent: Extent, stream: Any) -> None:
        """Enqueue a copy of a box of bytes; `extent` is its width in bytes, its rows and planes."""
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
        """Enqueue filling with zeros."""
        self._call("cudaMemsetAsync", pointer, 0, size, stream)

    @property
    def _any(self) -> Any:
        return self.api.cudaMemcpyKind.cudaMemcpyDefault

    # -- order ---------------------------------------------------------------------------------

    def stream(self) -> Any:
        """Create a stream that does not wait for the default stream."""
        return self._call("cudaStreamCreateWithFlags", self.api.cudaStreamNonBlocking)

    def synchronize(self, stream: Any) -> None:
        """Wait on the host until a stream has finished all its work."""
        self._call("cudaStreamSynchronize", stream)

    def destroy_stream(self, stream: Any) -> None:
        """Destroy a stream."""
        self._call("cudaStreamDestroy", stream)

    def event(self) -> Any:
        """Create an event without timing; the host sleeps while it waits for it."""
        flags = int(self.api.cudaEventDisableTiming) | int(self.api.cudaEventBlockingSync)
        return self._call("cudaEventCreateWithFlags", flags)

    def done(self, event: Any) -> bool:
        """Whether an event has been reached."""
        (error, *_) = self.api.cudaEventQuery(event)
        return int(error) == int(self.api.cudaError_t.cudaSuccess)

    def timed_event(self) -> Any:
        """Create an event with timing."""
        return self._call("cudaEventCreate")

    def elapsed(self, start: Any, stop: Any) -> float:
        """Milliseconds between two events that have been reached."""
        return float(self._call("cudaEventElapsedTime", start, stop))

    def record(self, event: Any, stream: Any) -> None:
        """Record an event after all work of a stream so far."""
        self._call("cudaEventRecord", event, stream)

    def wait(self, stream: Any, event: Any) -> None:
        """Let a stream wait for an event."""
        self._call("cudaStreamWaitEvent", stream, event, 0)

    def wait_here(self, event: Any) -> None:
        """Wait for an event on the host."""
        self._call("cudaEventSynchronize", event)

    def destroy_event(self, event: Any) -> None:
        """Destroy an event."""
        self._call("cudaEventDestroy", event)

    # -- graphs --------------------------------------------------------------------------------

    def begin_capture(self, stream: Any) -> None:
        """Capture what this thread enqueues from now on, instead of running it."""
        mode = self.api.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)

    def end_capture(self, stream: Any) -> Any:
        """End a capture; the graph can be launched many times."""
        graph = self._call("cudaStreamEndCapture", stream)
        try:
            return self._call("cudaGraphInstantiate", graph, 0)
        finally:
            self._call("cudaGraphDestroy", graph)

    def drop_capture(self, stream: Any) -> None:
        """End a capture that failed, and drop what it holds."""
        _, graph = self.api.cudaStreamEndCapture(stream)
        if graph is not None:
            self._call("cudaGraphDestroy", graph)

    def launch(self, graph: Any, stream: Any) -> None:
        """Enqueue a captured graph."""
        self._call("cudaGraphLaunch", graph, stream)

    def destroy_graph(self, graph: Any) -> None:
        """Destroy a captured graph."""
        self._call("cudaGraphExecDestroy", graph)


def open_cuda() -> Cuda:
    """Open CUDA on the first visible device.

    Raises:
        RuntimeUnavailableError: the driver, the device or cuda-bindings is missing, or the driver
            is too old. What is missing at the bottom is said first.
    """
    api = _checked(_bindings())
    try:
        return Cuda(api)
    except GraphRunError as error:
        raise RuntimeUnavailableError(f"The GPU cannot be used: {error}") from error


def _bindings() -> Any:
    check_nvidia_driver()
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except ImportError as error:
        extras = ["jetson"] if jetson() else ["tensorrt-cu12", "tensorrt-cu13", "rtx"]
        raise RuntimeUnavailableError(
            "CUDA needs the package cuda-bindings, which is not installed. Install it "
            f"with {', or '.join(map(install_command, extras))}."
        ) from error


def _checked(api: Any) -> Any:
    """Check that the bindings have a driver and a device."""
    error, version = api.cudaDriverGetVersion()
    if int(error) or not version:
        raise RuntimeUnavailableError(
            "The NVIDIA driver is missing or does not start. Install it, or use --runtime cpu."
        )
    if version < OLDEST_DRIVER:
        raise RuntimeUnavailableError(
            f"The NVIDIA driver supports CUDA {show_version(version)}, but "
            f"{show_version(OLDEST_DRIVER)} or newer is needed. Update the driver, or use "
            "--runtime cpu."
        )
    error, count = api.cudaGetDeviceCount()
    kind = getattr(error, "name", "")
    if kind == "cudaErrorInsufficientDriver":
        raise RuntimeUnavailableError(
            f"The NVIDIA driver supports CUDA {show_version(version)}, which is too old for the "
            "installed cuda-bindings. Update the driver, or install the matching cuda-bindings."
        )
    if int(error) or not count:
        raise RuntimeUnavailableError(
            f"CUDA finds no device ({kind or 'none'}). Check CUDA_VISIBLE_DEVICES, or use "
            "--runtime cpu."
        )
    return api


def show_version(number: int) -> str:
    """A version number as text: 12060 -> `12.6`."""
    return f"{number // 1000}.{number % 1000 // 10}"
