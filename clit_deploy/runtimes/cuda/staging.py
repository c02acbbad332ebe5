"""Pinned host memory for copies to and from a device."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from clit_deploy.runtimes.cuda.cuda_api import Cuda

BUFFERS = 16
"""Pinned buffers of one size before a copy waits for an earlier one."""
MIN_BUFFER = 512
"""Bytes of the smallest buffer."""


class Staging:
    """Pinned buffers for copies; a buffer is reused when its copy is done."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._free: defaultdict[int, list[tuple[int, Any]]] = defaultdict(list)
        self._made: Counter[int] = Counter()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def room(self, size: int, stream: Any) -> Any:
        """A pinned buffer for a copy that is enqueued on `stream` inside the `with` block."""
        rounded_size = rounded(size)
        pointer, event = self._take(rounded_size)
        try:
            yield pointer, np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(pointer))
            self._cuda.record(event, stream)
        finally:
            with self._lock:
                self._free[rounded_size].append((pointer, event))

    def _take(self, size: int) -> tuple[int, Any]:
        """The oldest buffer if its copy is done; otherwise a new one, up to `BUFFERS`."""
        with self._lock:
            free = self._free[size]
            done = bool(free) and self._cuda.done(free[0][1])
            if not free or (not done and self._made[size] < BUFFERS):
                self._made[size] += 1
                return self._cuda.host_malloc(size), self._cuda.event()
            pointer, event = free.pop(0)
        self._cuda.wait_here(event)
        return pointer, event

    def close(self) -> None:
        """Free all buffers."""
        with self._lock:
            for buffers in self._free.values():
                for pointer, event in buffers:
                    self._cuda.host_free(pointer)
                    self._cuda.destroy_event(event)
            self._free.clear()


def rounded(size: int) -> int:
    """Round a size up to a quarter of a power of two, so that similar sizes share buffers."""
    size = max(size, MIN_BUFFER)
    step = max(1 << (size.bit_length() - 3), MIN_BUFFER)
    return -(-size // step) * step
