"""Enqueuing an engine's runs: on a context for each profile, or from recordings.

A recording (a CUDA graph) holds shapes, addresses and the state of its context, so it has a
context of its own, which never sees other shapes, and is made after a plain run on that context.
It is worth it where the same shapes and addresses come again; the pool gives its memory out in the
same order again and again, so they do.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clit_deploy.errors import DeviceError, EngineError, GraphRunError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clit_deploy.runtimes.device import Block, DeviceArray, DeviceArrays
    from clit_deploy.runtimes.trt import TensorRT
    from clit_deploy.runtimes.trt_layers import LayerSums

log = logging.getLogger(__name__)

OFTEN = 2
"""Runs with the same shapes and addresses before the next one is recorded."""
GRAPHS = 16
"""Recordings that an engine keeps, the last used ones."""
MET = 256
"""Shapes and addresses that are remembered."""

Shapes = dict[str, "tuple[int, ...]"]


@dataclass
class _Seat:
    """A context, and what it was told last."""

    context: Any
    shapes: Shapes = field(default_factory=dict)
    need: int = 0
    memory: Block | None = None
    """Working memory; all contexts borrow one, for they run one after another."""
    graph: Any = None


class Launcher:
    """One engine's contexts. Not to be used by two threads at once."""

    def __init__(
        self,
        trt: TensorRT,
        engine: Any,
        name: str,
        device: DeviceArrays,
        cache: Any,
        layers: LayerSums | None = None,
    ) -> None:
        self._trt, self._engine, self._name, self._device = trt, engine, name, device
        self._cache, self._layers = cache, layers
        self._seats: dict[int, _Seat] = {}
        self._recorded: OrderedDict[Any, _Seat] = OrderedDict()
        self._met: Counter[Any] = Counter()
        self._outputs: dict[Any, tuple[int, ...]] = {}
        self._records = not trt.is_rtx and layers is None
        self._hits = self._evicted = 0

    @property
    def profiles(self) -> set[int]:
        """The profiles that have run."""
        return set(self._seats)

    def output_shape(self, profile: int, shapes: Shapes, output: str) -> tuple[int, ...]:
        """The shape that a run's output is going to have."""
        key = profile, tuple(shapes.items())
        if key not in self._outputs:
            seat = self._seat(profile)
            self._tell_shapes(seat, shapes)
            if len(self._outputs) > MET:
                self._outputs.clear()
            self._outputs[key] = tuple(seat.context.get_tensor_shape(output))
        return self._outputs[key]

    def launch(self, profile: int, shapes: Shapes, tensors: Mapping[str, DeviceArray]) -> None:
        """Enqueue a run."""
        key = profile, tuple((*a.shape, a.pointer) for a in tensors.values())
        seat = self._recorded.get(key)
        if seat is not None and seat.memory is self._device.scratch(seat.need):
            self._hits += 1
            self._recorded.move_to_end(key)
            self._device.cuda.launch(seat.graph, self._device.compute)
            return
        again = self._records and self._met[key] >= OFTEN
        seat = self._made(profile) if again else self._seat(profile)
        self._tell_shapes(seat, shapes)
        self._tell_addresses(seat, tensors)
        self._enqueue(seat, self._device.compute)
        if len(self._met) > MET:
            self._met.clear()
        self._met[key] += 1
        if again:
            self._keep(key, seat)

    def close(self) -> None:
        """Give contexts and recordings back."""
        for seat in self._recorded.values():
            self._device.cuda.destroy_graph(seat.graph)
        self._recorded.clear()
        self._seats.clear()

    # -- contexts ------------------------------------------------------------------------------

    def _seat(self, profile: int) -> _Seat:
        if profile not in self._seats:
            self._seats[profile] = self._made(profile)
        return self._seats[profile]

    def _made(self, profile: int) -> _Seat:
        context = self._trt.context(self._engine, self._cache)
        if self._layers:
            context.profiler = self._layers.of(self._name)
        stream = int(self._device.compute)
        self._must(context.set_optimization_profile_async(profile, stream), f"profile {profile}")
        return _Seat(context)

    def _tell_shapes(self, seat: _Seat, shapes: Shapes) -> None:
        if seat.shapes == shapes:
            return
        seat.shapes = {}
        for name, shape in shapes.items():
            self._must(seat.context.set_input_shape(name, shape), f"{name} {list(shape)}")
        seat.need = self._trt.working_memory(self._engine, seat.context)
        seat.shapes, seat.memory = shapes, None

    def _tell_addresses(self, seat: _Seat, tensors: Mapping[str, DeviceArray]) -> None:
        memory = self._device.scratch(seat.need)
        if seat.memory is not memory:
            self._trt.lend(seat.context, memory.pointer, memory.size, self._name)
            seat.memory = memory
        for name, array in tensors.items():
            self._must(seat.context.set_tensor_address(name, array.pointer), f"memory for {name}")

    def _must(self, done: bool, what: str) -> None:
        if not done:
            raise self._trt.failed(EngineError, f"{self._name} refuses {what}")

    def _enqueue(self, seat: _Seat, stream: Any) -> None:
        if not seat.context.execute_async_v3(int(stream)):
            raise self._trt.failed(GraphRunError, f"{self._trt.title} cannot run {self._name}")

    # -- recordings ----------------------------------------------------------------------------

    def _keep(self, key: Any, seat: _Seat) -> None:
        """Record what was just enqueued, for the next time."""
        seat.graph = self._record(seat)
        if seat.graph is None:
            return
        stale = self._recorded.pop(key, None)  # its working memory is gone
        self._recorded[key] = seat
        if stale is None and len(self._recorded) > GRAPHS:
            _, stale = self._recorded.popitem(last=False)
            self._evicted += 1
        if stale is not None:
            self._device.cuda.destroy_graph(stale.graph)
        if self._evicted > self._hits + GRAPHS:
            self._records = False
            log.info("%s seldom sees the same addresses again; it is not recorded", self._name)

    def _record(self, seat: _Seat) -> Any:
        """A recorded launch; None, once and for all, where the engine cannot be recorded.

        It is recorded on a stream of its own, by one thread at a time: others go on using the rest.
        """
        cuda, stream = self._device.cuda, self._device.recording
        with self._device.recorder:
            cuda.begin_capture(stream)
            refused: GraphRunError | None = None
            try:
                self._enqueue(seat, stream)
            except GraphRunError as error:
                refused = error
            try:
                graph = cuda.end_capture(stream)
            except DeviceError as error:
                refused, graph = refused or error, None
        if refused is None:
            return graph
        if graph is not None:  # of what was enqueued before it was refused
            cuda.destroy_graph(graph)
        self._records = False
        log.info("%s is enqueued anew every time, for recording fails: %s", self._name, refused)
        return None
