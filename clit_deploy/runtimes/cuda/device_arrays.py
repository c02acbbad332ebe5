"""Tensors on a device: a memory pool, views on it, and copies to and from the host.

There are two streams. Everything that computes or copies on the device is enqueued on `compute`, in
order, so memory that Python releases can be reused at once by what is enqueued later. Results are
downloaded on `download`, beside the next computation. Only `host` waits for the device.
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
    """A block of a pool; it returns there when nothing refers to it any more."""

    def __init__(self, pool: Pool, pointer: int, size: int) -> None:
        self.pointer, self.size = pointer, size
        self._pool = pool

    def __del__(self) -> None:
        self._pool.give(self.pointer, self.size)


class Pool:
    """Device memory that is allocated once and reused; the block returned last is taken first."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._free: defaultdict[int, list[int]] = defaultdict(list)
        self._lock = threading.RLock()  # a block may be collected while another one is taken
        self._closed = False
        self.held = 0
        """Bytes allocated on the device."""

    def take(self, size: int) -> PoolBlock:
        """Take a block of at least `size` bytes.

        Raises:
            DeviceMemoryError: the device is out of memory, even after unused blocks were freed.
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
                f"free, and this process uses {show_bytes(self.held)}. Close other programs.",
                free + self.held,
            ) from error

    def give(self, pointer: int, size: int) -> None:
        """Return a block to the pool."""
        with self._lock:
            if self._closed:
                self._cuda.free(pointer)
            else:
                self._free[size].append(pointer)

    def trim(self) -> None:
        """Free all unused blocks."""
        with self._lock:
            unused, self._free = self._free, defaultdict(list)
            for size, pointers in unused.items():
                for pointer in pointers:
                    self._cuda.free(pointer)
                    self.held -= size

    def close(self) -> None:
        """Free all blocks: unused ones now, others when they return."""
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
        """Name of the graph whose output it is; empty for other tensors."""
        self._block = block

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def contiguous(self) -> bool:
        """Whether its elements are contiguous."""
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
        """For capturing CUDA graphs; nothing runs on it."""
        self.watch = Stopwatch(cuda)
        self.capture_lock = threading.Lock()
        """Held by the thread that captures: a stream allows one capture at a time."""
        self._lock = threading.RLock()
        self._pinned = Staging(cuda)
        self._scratch: PoolBlock | None = None
        self._closed = False

    def scratch(self, size: int) -> PoolBlock:
        """The workspace that all engines share, as they run one after another. It only grows."""
        with self._lock:
            if self._scratch is None or self._scratch.size < size:
                self._scratch = None  # back to the pool before more is taken
                self._scratch = self.pool.take(size)
            return self._scratch

    def taken(self, array: Any, dtype: np.dtype[Any], what: str, member: str = "") -> DeviceArray:
        """Upload a graph's input, or check that a tensor of the device has the right type.

        Raises:
            EngineError: it is the output of another graph, and has another type.
        """
        if not isinstance(array, DeviceArray):
            return self.upload(np.asarray(array), dtype, member)
        if array.dtype != dtype or not array.contiguous:
            raise EngineError(
                f"{what} must be {dtype}, but is {array.dtype}: the plan's graphs do not match. "
                "Export the plan again, or build its engines again."
            )
        return array

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> DeviceArray:
        """A tensor with undefined content."""
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
        """Copy a tensor of the host to the device, on `compute`. Its time counts for the graph
        `member`."""
        there = self.empty(array.shape, dtype)
        with self._pinned.room(there.nbytes, self.compute) as (pointer, view):
            np.copyto(view.view(dtype).reshape(array.shape), array, casting="same_kind")
            with self.watch.span(member, "upload", self.compute):
                self.cuda.copy(there.pointer, pointer, there.nbytes, self.compute)
        return there

    def host(self, array: Array) -> NDArray[np.float32]:
        """Download a contiguous tensor, and wait for it."""
        assert isinstance(array, DeviceArray)  # noqa: S101  (runners of this runtime return these)
        if not array.contiguous:
            raise AssertionError("only contiguous tensors can be downloaded")
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
        """Wait for the device and release everything. Again is harmless."""
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
        """Wait until everything that was enqueued is done. Errors are only logged: the caller
        may already be handling another one."""
        if self._closed:
            return
        for stream in (self.compute, self.download, self.capture_stream):
            try:
                self.cuda.synchronize(stream)
            except DeviceError as error:
                log.warning("%s", error)


def dense(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Strides in bytes of a contiguous array."""
    strides, step = [], itemsize
    for length in reversed(shape):
        strides.append(step)
        step *= length
    return tuple(reversed(strides))


def _boxed(
    shape: tuple[int, ...], itemsize: int, *strides: tuple[int, ...]
) -> tuple[tuple[int, int, int], list[tuple[int, int]]]:
    """A view as width in bytes, rows and planes, with the bytes from row to row and from plane to
    plane on each side. Neighboring axes that are contiguous on every side are merged."""
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
        raise AssertionError(f"{shape} has more than three axes")
    while len(axes) < 3:
        inner, steps = axes[-1]
        axes.append((1, tuple(inner * step for step in steps)))
    (width, _), (rows, pitches), (planes, steps) = axes
    return (width, rows, planes), list(zip(pitches, steps, strict=True))
