"""Pinned memory of the host: what copies to and from a device go through."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from clit_deploy.runtimes.cuda.cuda_api import Cuda

PIECES = 16
"""Pinned pieces of one size, before a copy waits for an earlier one."""
MIN_PIECE = 512
"""Bytes of the smallest piece; larger ones are rounded up to a quarter of a power of two."""


class Staging:
    """Pinned memory that copies go through; a piece is used again when its copy is done."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._free: defaultdict[int, list[tuple[int, Any]]] = defaultdict(list)
        self._made: Counter[int] = Counter()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def room(self, size: int, stream: Any) -> Any:
        """Pinned bytes for a copy that is enqueued on `stream` inside the `with` statement."""
        piece = rounded(size)
        pointer, event = self._take(piece)
        try:
            yield pointer, np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(pointer))
            self._cuda.record(event, stream)
        finally:
            with self._lock:
                self._free[piece].append((pointer, event))

    def _take(self, size: int) -> tuple[int, Any]:
        """The oldest piece, if its copy is done; otherwise a new one, while there are few."""
        with self._lock:
            free = self._free[size]
            done = bool(free) and self._cuda.done(free[0][1])
            if not free or (not done and self._made[size] < PIECES):
                self._made[size] += 1
                return self._cuda.host_malloc(size), self._cuda.event()
            pointer, event = free.pop(0)
        self._cuda.wait_here(event)
        return pointer, event

    def close(self) -> None:
        """Give everything back."""
        with self._lock:
            for pieces in self._free.values():
                for pointer, event in pieces:
                    self._cuda.host_free(pointer)
                    self._cuda.destroy_event(event)
            self._free.clear()


def rounded(size: int) -> int:
    """Sizes in steps of a quarter of a power of two, so that nearly equal ones share pieces."""
    size = max(size, MIN_PIECE)
    step = max(1 << (size.bit_length() - 3), MIN_PIECE)
    return -(-size // step) * step
