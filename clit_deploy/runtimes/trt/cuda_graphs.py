"""Recorded launches (CUDA graphs) of one engine: kept where they pay, and never needed.

A recording holds shapes, addresses and the state of its context, so it has a context of its own,
which never sees other shapes. It is worth it where the same shapes and addresses come again; the
pool gives its memory out in the same order again and again, so they do.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clit_deploy.errors import DeviceMemoryError, EngineError, GraphRunError

if TYPE_CHECKING:
    from collections.abc import Callable

    from clit_deploy.runtimes.cuda.device_arrays import DeviceArrays

log = logging.getLogger(__name__)

MIN_REPEATS = 2
"""Runs with the same shapes and addresses before the next one is recorded."""
GRAPHS = 16
"""CUDA graphs that an engine keeps, the last used ones."""
MAX_SEEN = 256
"""Shapes and addresses that are remembered."""

REFUSALS = (EngineError, GraphRunError, DeviceMemoryError)
"""What making or launching a recording may end in; the picture goes on without."""

Shapes = dict[str, "tuple[int, ...]"]


@dataclass
class ContextState:
    """A context, and what it was told last."""

    context: Any
    shapes: Shapes = field(default_factory=dict)
    workspace_size: int = 0
    """Bytes of working memory."""
    workspace_ptr: int | None = None
    """Where that is; all contexts borrow one piece, for they run one after another."""
    graph: Any = None
    """What was recorded on it."""


class CudaGraphCache:
    """What was recorded of an engine, by shapes and addresses. Not for two threads at once."""

    def __init__(self, name: str, device: DeviceArrays, *, wanted: bool) -> None:
        self._name, self._device, self._wanted = name, device, wanted
        self._kept: OrderedDict[Any, ContextState] = OrderedDict()
        self._met: Counter[Any] = Counter()
        self._hits = self._evicted = 0

    def launch(self, key: Any) -> bool:
        """Enqueue what was recorded; False where there is nothing, or its memory is gone, or the
        device refuses it."""
        if key not in self._kept:
            return False
        state = self._kept[key]
        memory = self._device.scratch(state.workspace_size)
        self._drop(lambda other: other.workspace_ptr != memory.pointer)
        if key not in self._kept:
            return False
        try:
            self._device.cuda.launch(state.graph, self._device.compute)
        except REFUSALS as error:
            self.clear()
            self.stop(error)
            return False
        self._hits += 1
        self._kept.move_to_end(key)
        return True

    def due(self, key: Any) -> bool:
        """Whether a run that comes once more is to be recorded; counts it."""
        if len(self._met) > MAX_SEEN:
            self._met.clear()
        self._met[key] += 1
        return self._wanted and self._met[key] > MIN_REPEATS

    def keep(self, key: Any, state: ContextState, enqueue: Callable[[Any], None]) -> None:
        """Record what was just enqueued on a context, for the next time."""
        try:
            state.graph = self._recorded(enqueue)
        except REFUSALS as error:
            self.stop(error)
            return
        self._drop(lambda other: other.workspace_ptr != state.workspace_ptr)
        self._kept[key] = state
        if len(self._kept) > GRAPHS:
            self._forget(next(iter(self._kept)))
            self._evicted += 1
        if self._evicted > self._hits + GRAPHS:
            self._wanted = False
            log.info("%s seldom sees the same addresses again; it is not recorded", self._name)

    def stop(self, why: Exception) -> None:
        """Record nothing more."""
        self._wanted = False
        log.warning("%s is enqueued anew every time, for recording fails: %s", self._name, why)

    def clear(self) -> None:
        """Give everything back."""
        self._drop(lambda _: True)

    def _recorded(self, enqueue: Callable[[Any], None]) -> Any:
        """On a stream of its own, by one thread at a time: others go on using the rest."""
        cuda, stream = self._device.cuda, self._device.capture_stream
        with self._device.capture_lock:
            cuda.begin_capture(stream)
            try:
                enqueue(stream)
            except REFUSALS:
                cuda.drop_capture(stream)
                raise
            return cuda.end_capture(stream)

    def _drop(self, gone: Callable[[ContextState], bool]) -> None:
        for key in [key for key, state in self._kept.items() if gone(state)]:
            self._forget(key)

    def _forget(self, key: Any) -> None:
        self._device.cuda.destroy_graph(self._kept.pop(key).graph)
