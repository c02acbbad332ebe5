"""Tensors on a device: a pool of memory, views on it, and the ways there and back.

Two streams: everything that computes or copies on the device is enqueued on `compute`, in order,
so memory that Python lets go can be used again at once by what is enqueued later. Results leave on
`download`, beside the next computation. Nothing but `host` waits for the device.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from clit_deploy.config import show_bytes
from clit_deploy.errors import DeviceError, DeviceMemoryError, EngineError
from clit_deploy.runtimes.cuda.cuda_api import Pitched
from clit_deploy.runtimes.cuda.staging import Staging, rounded
from clit_deploy.runtimes.cuda.stopwatch import Stopwatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clit_deploy.runtimes.cuda.cuda_api import Cuda
    from clit_deploy.runtimes.protocols import Array

log = logging.getLogger(__name__)


class PoolBlock:
    """A piece of a pool's memory; it returns there when nothing refers to it any more."""

    def __init__(self, pool: Pool, pointer: int, size: int) -> None:
        self.pointer, self.size = pointer, size
        self._pool = pool

    def __del__(self) -> None:
        self._pool.give(self.pointer, self.size)


class Pool:
    """Device memory that is allocated once and used again; the last piece given is taken first."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._free: defaultdict[int, list[int]] = defaultdict(list)
        self._lock = threading.RLock()  # a piece may be collected while one is taken
        self._closed = False
        self.held = 0
        """Bytes taken from the device."""

    def take(self, size: int) -> PoolBlock:
        """A piece of at least `size` bytes.

        Raises:
            DeviceMemoryError: the device has no room, not even after what is unused went back.
        """
        size = rounded(size)
        with self._lock:
            if self._free[size]:
                return PoolBlock(self, self._free[size].pop(), size)
            try:
                pointer = self._cuda.malloc(size)
            except DeviceMemoryError:
                self.trim()
                pointer = self._again(size)
            self.held += size
            return PoolBlock(self, pointer, size)

    def _again(self, size: int) -> int:
        try:
            return self._cuda.malloc(size)
        except DeviceMemoryError as error:
            free = self._cuda.memory()[0]
            raise DeviceMemoryError(
                f"Out of device memory: {show_bytes(size)} more are needed, {show_bytes(free)} are "
                f"free and {show_bytes(self.held)} in use by this process. Close other programs.",
                free + self.held,
            ) from error

    def give(self, pointer: int, size: int) -> None:
        """Take a piece back."""
        with self._lock:
            if self._closed:
                self._cuda.free(pointer)
            else:
                self._free[size].append(pointer)

    def trim(self) -> None:
        """Give what is unused back to the device."""
        with self._lock:
            unused, self._free = self._free, defaultdict(list)
            for size, pointers in unused.items():
                for pointer in pointers:
                    self._cuda.free(pointer)
                    self.held -= size

    def close(self) -> None:
        """Give everything back, now or when it is let go."""
        self.trim()
        self._closed = True


class DeviceArray:
    """An `Array` in device memory: a view on a block, its strides in bytes."""

    def __init__(
        self,
        block: PoolBlock | Any,
        pointer: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        dtype: np.dtype[Any],
    ) -> None:
        self.shape, self.strides, self.dtype = shape, strides, dtype
        self.pointer = pointer
        self.maker = ""
        """The graph whose output it is."""
        self._block = block

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def contiguous(self) -> bool:
        """Whether its numbers follow one another."""
        return self.strides == dense(self.shape, self.dtype.itemsize)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int | slice | tuple[int | slice, ...]) -> DeviceArray:
        index = index if isinstance(index, tuple) else (index,)
        shape, strides, pointer = [], [], self.pointer
        for axis, (length, stride) in enumerate(zip(self.shape, self.strides, strict=True)):
            part = index[axis] if axis < len(index) else slice(None)
            if isinstance(part, slice):
                start, stop, _ = part.indices(length)
                shape.append(max(stop - start, 0))
                strides.append(stride)
            else:
                start = range(length)[part]
            pointer += start * stride
        return DeviceArray(self._block, pointer, tuple(shape), tuple(strides), self.dtype)


class DeviceArrays:
    """See `Arrays`."""

    def __init__(self, cuda: Cuda) -> None:
        self.cuda = cuda
        self.pool = Pool(cuda)
        self.compute, self.download = cuda.stream(), cuda.stream()
        self.capture_stream = cuda.stream()
        """Where launches are recorded; nothing runs on it."""
        self.watch = Stopwatch(cuda)
        self.capture_lock = threading.Lock()
        """Held by the thread that records: a stream takes one recording at a time."""
        self._lock = threading.RLock()
        self._pinned = Staging(cuda)
        self._scratch: PoolBlock | None = None
        self._closed = False

    def scratch(self, size: int) -> PoolBlock:
        """Working memory that all engines share, for they run one after another; it only grows."""
        with self._lock:
            if self._scratch is None or self._scratch.size < size:
                self._scratch = None  # back to the pool before more is taken
                self._scratch = self.pool.take(size)
            return self._scratch

    def taken(self, array: Any, dtype: np.dtype[Any], what: str, member: str = "") -> DeviceArray:
        """A graph's input on the device: brought there, or checked to be what the graph takes.

        Raises:
            EngineError: another graph made it, of another type.
        """
        if not isinstance(array, DeviceArray):
            return self.upload(np.asarray(array), dtype, member)
        if array.dtype != dtype or not array.contiguous:
            raise EngineError(
                f"{what} is {dtype}, not {array.dtype}: the plan's graphs do not fit together. "
                "Export it again, or build its engines again."
            )
        return array

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> DeviceArray:
        """Room for a tensor."""
        strides = dense(shape, dtype.itemsize)
        block = self.pool.take(math.prod(shape) * dtype.itemsize)
        return DeviceArray(block, block.pointer, shape, strides, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> DeviceArray:
        """A tensor of zeros."""
        array = self.empty(shape, dtype)
        self.cuda.clear(array.pointer, array.nbytes, self.compute)
        return array

    def copy(self, target: Any, source: Any) -> None:
        """Copy a view onto another of the same shape and type."""
        if target.shape != source.shape or target.dtype != source.dtype:
            raise AssertionError(f"{source.shape} {source.dtype} onto {target.shape}")
        if 0 in target.shape:
            return
        extent, sides = _boxed(target.shape, target.dtype.itemsize, target.strides, source.strides)
        to, start = (
            Pitched(array.pointer, pitch, plane)
            for array, (pitch, plane) in zip((target, source), sides, strict=True)
        )
        self.cuda.copy_box(to, start, extent, self.compute)

    def upload(self, array: NDArray[Any], dtype: np.dtype[Any], member: str = "") -> DeviceArray:
        """A tensor of the host, on the device once `compute` gets there; `member` is the graph
        that it is timed for."""
        there = self.empty(array.shape, dtype)
        with self._pinned.room(there.nbytes, self.compute) as (pointer, view):
            np.copyto(view.view(dtype).reshape(array.shape), array, casting="same_kind")
            with self.watch.span(member, "upload", self.compute):
                self.cuda.copy(there.pointer, pointer, there.nbytes, self.compute)
        return there

    def host(self, array: Array) -> NDArray[np.float32]:
        """A dense tensor's numbers, once they are there."""
        assert isinstance(array, DeviceArray)  # noqa: S101  (runners of this runtime return these)
        if not array.contiguous:
            raise AssertionError("only whole tensors leave the device")
        with self._pinned.room(array.nbytes, self.download) as (pointer, view):
            made = self.cuda.event()
            self.cuda.record(made, self.compute)
            self.cuda.wait(self.download, made)
            with self.watch.span(array.maker, "download", self.download):
                self.cuda.copy(pointer, array.pointer, array.nbytes, self.download)
            self.cuda.record(made, self.download)
            self.cuda.wait_here(made)
            self.cuda.destroy_event(made)
            return np.array(view.view(array.dtype).reshape(array.shape), np.float32)

    def close(self) -> None:
        """Wait for the device and give everything back, once."""
        if self._closed:
            return
        self._closed = True
        self.settle()
        self._scratch = None
        for stream in (self.compute, self.download, self.capture_stream):
            self.cuda.destroy_stream(stream)
        self._pinned.close()
        self.pool.close()

    def settle(self) -> None:
        """Wait until everything that was enqueued is done; a fault that comes to light is logged,
        for whoever closes has an error of his own."""
        if self._closed:
            return
        for stream in (self.compute, self.download, self.capture_stream):
            try:
                self.cuda.synchronize(stream)
            except DeviceError as error:
                log.warning("%s", error)


def dense(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Strides in bytes of numbers that follow one another."""
    strides, step = [], itemsize
    for length in reversed(shape):
        strides.append(step)
        step *= length
    return tuple(reversed(strides))


def _boxed(
    shape: tuple[int, ...], itemsize: int, *strides: tuple[int, ...]
) -> tuple[tuple[int, int, int], list[tuple[int, int]]]:
    """A view as width (bytes), rows and planes, and each side's bytes from row to row and plane to
    plane: neighbouring axes that follow one another on every side become one."""
    axes = [(itemsize, (1,) * len(strides))]  # length in bytes, and stride on every side
    for length, steps in zip(
        reversed(shape), zip(*map(reversed, strides), strict=True), strict=True
    ):
        inner, inner_steps = axes[-1]
        if length == 1:
            continue
        if all(step == inner * below for step, below in zip(steps, inner_steps, strict=True)):
            axes[-1] = inner * length, inner_steps
        else:
            axes.append((length, steps))
    if len(axes) > 3 or axes[0][1] != (1,) * len(strides):
        raise AssertionError(f"{shape} is no box")
    while len(axes) < 3:
        inner, steps = axes[-1]
        axes.append((1, tuple(inner * step for step in steps)))
    (width, _), (rows, pitches), (planes, steps) = axes
    return (width, rows, planes), list(zip(pitches, steps, strict=True))
