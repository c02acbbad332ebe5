"""CUDA graphs of one engine: captured where they save time, and never required.

A CUDA graph holds shapes, addresses and the state of its context, so each has its own context,
which never gets other shapes. It saves time if the same shapes and addresses return. They do: the
memory pool hands out its blocks in the same order every time.
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
"""Runs with the same shapes and addresses before the next one is captured."""
GRAPHS = 16
"""CUDA graphs that an engine keeps; the least recently used one goes first."""
MAX_SEEN = 256
"""Combinations of shapes and addresses that are remembered."""

REFUSALS = (EngineError, GraphRunError, DeviceMemoryError)
"""Errors of capturing or launching a CUDA graph. The run then goes on without one."""

Shapes = dict[str, "tuple[int, ...]"]


@dataclass
class ContextState:
    """A context and its current settings."""

    context: Any
    shapes: Shapes = field(default_factory=dict)
    workspace_size: int = 0
    """Bytes."""
    workspace_ptr: int | None = None
    """Address of the workspace. All contexts share one, as they run one after another."""
    graph: Any = None
    """The CUDA graph that was captured on the context."""


class CudaGraphCache:
    """The CUDA graphs of an engine, by shapes and addresses. Not thread-safe."""

    def __init__(self, name: str, device: DeviceArrays, *, enabled: bool) -> None:
        self._name, self._device, self._enabled = name, device, enabled
        self._kept: OrderedDict[Any, ContextState] = OrderedDict()
        self._seen: Counter[Any] = Counter()
        self._hits = self._evicted = 0

    def launch(self, key: Any) -> bool:
        """Enqueue a captured run.

        Returns: False if there is none, its workspace moved, or the device rejects it.
        """
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

    def should_capture(self, key: Any) -> bool:
        """Count a run; whether it has come often enough to be captured."""
        if len(self._seen) > MAX_SEEN:
            self._seen.clear()
        self._seen[key] += 1
        return self._enabled and self._seen[key] > MIN_REPEATS

    def capture(self, key: Any, state: ContextState, enqueue: Callable[[Any], None]) -> None:
        """Capture what was just enqueued on a context, for the next time."""
        try:
            state.graph = self._captured(enqueue)
        except REFUSALS as error:
            self.stop(error)
            return
        self._drop(lambda other: other.workspace_ptr != state.workspace_ptr)
        self._kept[key] = state
        if len(self._kept) > GRAPHS:
            self._forget(next(iter(self._kept)))
            self._evicted += 1
        if self._evicted > self._hits + GRAPHS:
            self._enabled = False
            log.info("%s: addresses seldom repeat; no more CUDA graphs are captured", self._name)

    def stop(self, why: Exception) -> None:
        """Capture nothing more."""
        self._enabled = False
        log.warning("%s runs without CUDA graphs, because capturing failed: %s", self._name, why)

    def clear(self) -> None:
        """Release all CUDA graphs."""
        self._drop(lambda _: True)

    def _captured(self, enqueue: Callable[[Any], None]) -> Any:
        """Capture on a separate stream, one thread at a time, so that others can use the rest."""
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
