"""A CUDA that does its work as late as it may: in a stream's order, when somebody waits.

What is enqueued runs only when the host waits for its stream or for an event behind it, so work
that nobody waits for is seen as garbage, and a buffer that is used again too early as well.
"""

from __future__ import annotations

import ctypes
import enum
import threading
import types

GARBAGE = 0xCD


class Error(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorNoDevice = 100
    cudaErrorIllegalState = 401
    cudaErrorNotReady = 600
    cudaErrorStreamCaptureInvalidated = 901


class Stream:
    def __init__(self, number):
        self.number, self.work, self.captured = number, [], None

    def __int__(self):
        return self.number

    def add(self, job):
        (self.work if self.captured is None else self.captured).append(job)


class Event:
    """Stands for the work of a stream when it was last recorded."""

    def __init__(self):
        self.stream = self.mark = None


class FakeCuda:
    """The module `cuda.bindings.runtime`, as far as it is used; `total` bytes of memory."""

    cudaError_t = Error
    cudaStreamNonBlocking = 1
    cudaEventDisableTiming, cudaEventBlockingSync = 2, 1
    cudaMemcpyKind = types.SimpleNamespace(cudaMemcpyDefault=4)
    cudaStreamCaptureMode = types.SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(
        self,
        total=1 << 30,
        *,
        driver=12060,
        devices=1,
        capability=(8, 6),
        processors=16,
        integrated=0,
    ):
        self.total, self.driver, self.devices, self.capability = total, driver, devices, capability
        self.processors, self.integrated = processors, integrated
        self.blocks, self.pinned, self.streams = {}, {}, {}
        self.calls, self.mallocs = [], 0
        self.reached, self.ticks = {}, 0
        """When events came, in jobs that were done before."""
        self.longest, self.room = 0, total
        """The longest piece that was taken, and the longest that may be: memory in fragments."""
        self.fails = {}
        """What a call answers instead of doing its work, by its name."""
        self.graphs = 0
        """Recordings that were not given back, in either form."""
        self.lock = threading.RLock()

    # -- what there is ---------------------------------------------------------------------

    def cudaDriverGetVersion(self):
        return Error.cudaSuccess, self.driver

    def cudaGetDeviceCount(self):
        if not self.devices:
            return Error.cudaErrorNoDevice, 0
        return Error.cudaSuccess, self.devices

    def cudaSetDevice(self, index):
        return (Error.cudaSuccess,)

    def cudaGetDeviceProperties(self, index):
        major, minor = self.capability
        return Error.cudaSuccess, types.SimpleNamespace(
            name=b"Fake GPU",
            major=major,
            minor=minor,
            multiProcessorCount=self.processors,
            totalGlobalMem=self.total,
            integrated=self.integrated,
        )

    def cudaMemGetInfo(self):
        return Error.cudaSuccess, self.total - self.used, self.total

    @property
    def used(self):
        return sum(len(block) for block in self.blocks.values())

    # -- memory ----------------------------------------------------------------------------

    def cudaMalloc(self, size):
        if size > self.room or self.used + size > self.total:
            return Error.cudaErrorMemoryAllocation, None
        block = ctypes.create_string_buffer(bytes([GARBAGE]) * size, size)
        self.blocks[ctypes.addressof(block)] = block
        self.mallocs += 1
        self.longest = max(self.longest, size)
        return Error.cudaSuccess, ctypes.addressof(block)

    def cudaFree(self, pointer):
        for stream in self.streams.values():
            self._drain(stream)
        if self.blocks.pop(pointer, None) is None:
            return (Error.cudaErrorInvalidValue,)
        return (Error.cudaSuccess,)

    def cudaHostAlloc(self, size, flags):
        block = ctypes.create_string_buffer(bytes([GARBAGE]) * size, size)
        self.pinned[ctypes.addressof(block)] = block
        return Error.cudaSuccess, ctypes.addressof(block)

    def cudaFreeHost(self, pointer):
        del self.pinned[pointer]
        return (Error.cudaSuccess,)

    def _inside(self, pointer, size):
        blocks = {**self.blocks, **self.pinned}
        return any(at <= pointer and pointer + size <= at + len(b) for at, b in blocks.items())

    def cudaMemcpyAsync(self, target, source, size, kind, stream):
        return self._move(stream, [(target, source, size)], "copy")

    def cudaMemcpy2DAsync(self, target, to_pitch, source, pitch, width, rows, kind, stream):
        moves = [(target + k * to_pitch, source + k * pitch, width) for k in range(rows)]
        return self._move(stream, moves, "copy2d")

    def cudaMemcpy3DAsync(self, order, stream):
        to, start = order.dstPtr, order.srcPtr
        width, rows, planes = order.extent
        moves = [
            (
                to.pointer + (plane * to.rows + row) * to.pitch,
                start.pointer + (plane * start.rows + row) * start.pitch,
                width,
            )
            for plane in range(planes)
            for row in range(rows)
        ]
        return self._move(stream, moves, "copy3d")

    def cudaMemcpy3DParms(self):
        return types.SimpleNamespace()

    def make_cudaPitchedPtr(self, pointer, pitch, width, rows):
        return types.SimpleNamespace(pointer=pointer, pitch=pitch, rows=rows)

    def make_cudaExtent(self, width, rows, planes):
        return width, rows, planes

    def _move(self, stream, moves, name):
        for target, source, size in moves:
            if not (self._inside(target, size) and self._inside(source, size)):
                return (Error.cudaErrorInvalidValue,)
        self.calls.append((name, stream.number))
        stream.add(lambda: [ctypes.memmove(*move) for move in moves])
        return (Error.cudaSuccess,)

    def cudaMemsetAsync(self, pointer, value, size, stream):
        assert self._inside(pointer, size)
        stream.add(lambda: ctypes.memset(pointer, value, size))
        return (Error.cudaSuccess,)

    # -- order -----------------------------------------------------------------------------

    def cudaStreamCreateWithFlags(self, flags):
        stream = Stream(len(self.streams) + 1)
        self.streams[stream.number] = stream
        return Error.cudaSuccess, stream

    def cudaStreamDestroy(self, stream):
        del self.streams[stream.number]
        return (Error.cudaSuccess,)

    def cudaStreamSynchronize(self, stream):
        self._drain(stream)
        return (Error.cudaSuccess,)

    def _drain(self, stream, upto=None):
        with self.lock:
            while stream.work and (upto is None or upto not in self.reached):
                stream.work.pop(0)()
                self.ticks += 1

    def cudaEventCreateWithFlags(self, flags):
        return Error.cudaSuccess, Event()

    def cudaEventCreate(self):
        return Error.cudaSuccess, Event()

    def cudaEventElapsedTime(self, start, stop):
        """A millisecond for every job in between; an event that has not come has no time."""
        if start.mark not in self.reached or stop.mark not in self.reached:
            return Error.cudaErrorInvalidValue, None
        return Error.cudaSuccess, float(self.reached[stop.mark] - self.reached[start.mark])

    def cudaEventDestroy(self, event):
        return (Error.cudaSuccess,)

    def cudaEventRecord(self, event, stream):
        mark = object()
        event.stream, event.mark = stream, mark
        self.calls.append(("record", stream.number))
        stream.add(lambda: self.reached.setdefault(mark, self.ticks))
        return (Error.cudaSuccess,)

    def cudaStreamWaitEvent(self, stream, event, flags):
        other, mark = event.stream, event.mark
        self.calls.append(("wait", stream.number))
        stream.add(lambda: self._drain(other, mark))
        return (Error.cudaSuccess,)

    def cudaEventQuery(self, event):
        done = event.stream is None or event.mark in self.reached
        return (Error.cudaSuccess if done else Error.cudaErrorNotReady,)

    def cudaEventSynchronize(self, event):
        if event.stream is not None:
            self._drain(event.stream, event.mark)
        return (Error.cudaSuccess,)

    # -- graphs ----------------------------------------------------------------------------

    def cudaStreamBeginCapture(self, stream, mode):
        self.calls.append(("begin", stream.number))
        if "cudaStreamBeginCapture" in self.fails:
            return (self.fails["cudaStreamBeginCapture"],)
        if stream.captured is not None:
            return (Error.cudaErrorIllegalState,)
        stream.captured = []
        return (Error.cudaSuccess,)

    def cudaStreamEndCapture(self, stream):
        jobs, stream.captured = stream.captured, None
        if "cudaStreamEndCapture" in self.fails:
            return self.fails["cudaStreamEndCapture"], None
        self.graphs += 1
        self.calls.append(("captured", stream.number))
        return Error.cudaSuccess, jobs

    def cudaGraphInstantiate(self, graph, flags):
        if "cudaGraphInstantiate" in self.fails:
            return self.fails["cudaGraphInstantiate"], None
        self.graphs += 1
        return Error.cudaSuccess, list(graph)

    def cudaGraphDestroy(self, graph):
        self.graphs -= 1
        return (Error.cudaSuccess,)

    def cudaGraphExecDestroy(self, graph):
        self.calls.append(("forgotten", 0))
        self.graphs -= 1
        return (Error.cudaSuccess,)

    def cudaGraphLaunch(self, graph, stream):
        if "cudaGraphLaunch" in self.fails:
            return (self.fails["cudaGraphLaunch"],)
        self.calls.append(("launch", stream.number))
        for job in graph:
            stream.add(job)
        return (Error.cudaSuccess,)

    def count(self, name):
        return sum(call == name for call, _ in self.calls)
