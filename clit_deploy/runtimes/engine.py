"""TensorRT at work: engines of a plan on a device, fed and emptied without waiting in between."""

from __future__ import annotations

import logging
import threading
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from clit_deploy.errors import DeviceError, EngineError, GraphRunError
from clit_deploy.runtimes.base import ON_DEVICE, Appetite
from clit_deploy.runtimes.cache import Store
from clit_deploy.runtimes.device import DeviceArray, DeviceArrays
from clit_deploy.runtimes.trt_layers import LayerSums

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clit_deploy.bundle import Plan
    from clit_deploy.manifest import Engine, EngineSet
    from clit_deploy.runtimes.base import Array, Arrays, DeviceTime, LayerTime, Runner
    from clit_deploy.runtimes.cuda import Cuda
    from clit_deploy.runtimes.device import Block
    from clit_deploy.runtimes.trt import TensorRT

log = logging.getLogger(__name__)

GRAPHS = 16
"""Recorded launches that an engine keeps, the last used ones."""
OFTEN = 2
"""Launches with the same shapes and addresses before one is recorded: recording costs several."""
MET = 256
"""Shapes and addresses that are remembered."""


class EngineRuntime:
    """A `Runtime` over the engines of a plan."""

    def __init__(self, trt: TensorRT, engines: EngineSet, cuda: Cuda) -> None:
        self.name = f"{trt.title} ({cuda.gpu.name})"
        self.appetite = Appetite(
            ON_DEVICE.workers, engines.times, engines.sides, engines.tile, engines.block
        )
        self._device = DeviceArrays(cuda)
        self.arrays: Arrays = self._device
        self._trt = trt
        self._engines = {engine.graph: engine for engine in engines.engines}
        self._runners: dict[str, EngineRunner] = {}
        self.on_device = True
        self._layers: LayerSums | None = None
        self._weights = 0
        self._store = Store(f"runtime-{trt.flavour.value}-{trt.version}-{cuda.gpu.name}")
        self._cache: Any = None

    def runner(
        self,
        plan: Plan,
        member: str,
        *,
        wide: bool,  # noqa: ARG002
        dims: Mapping[str, int] | None = None,  # noqa: ARG002
    ) -> Runner:
        """Load a graph's engine; it takes every shape of its profiles, so nothing is fixed."""
        if member not in self._runners:
            engine = self._engines[member]
            content = plan.read(engine.member)
            loaded = self._trt.deserialize(content, member)
            self._weights += len(content)
            if self._cache is None:
                self._cache = self._trt.runtime_cache(loaded, self._store.read())
            self._runners[member] = EngineRunner(
                self._trt, loaded, engine, self._device, self._cache, self._layers
            )
        return self._runners[member]

    def start_device_times(self) -> None:
        """See `DeviceClock`."""
        self._device.watch.start()

    def device_times(self) -> Sequence[DeviceTime]:
        """See `DeviceClock`."""
        return self._device.watch.times()

    def device_bytes(self) -> Mapping[str, int]:
        """See `DeviceMemory`."""
        return {"engines": self._weights, "tensors": self._device.pool.held}

    def start_layers(self) -> None:
        """See `LayerProfiler`."""
        self._layers = LayerSums(self._trt)

    def layers(self) -> Sequence[LayerTime]:
        """See `LayerProfiler`."""
        sums, self._layers = self._layers, None
        return sums.take() if sums else []

    def close(self) -> None:
        """Keep what was compiled here for the next start, and give the device back."""
        for runner in self._runners.values():
            runner.close()
        self._runners.clear()
        if self._cache is not None:
            self._store.write(bytes(self._cache.serialize()))
            self._cache = None
        self._device.close()


@dataclass
class _Bed:
    """A context for one profile, its working memory, and what was recorded with both."""

    context: Any
    memory: Block | None = None
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    recorded: OrderedDict[Any, Any] = field(default_factory=OrderedDict)
    met: Counter[Any] = field(default_factory=Counter)
    """How often keys were launched anew."""


class EngineRunner:
    """One engine. Runs are enqueued one after another, whichever thread asks."""

    def __init__(
        self,
        trt: TensorRT,
        engine: Any,
        info: Engine,
        device: DeviceArrays,
        cache: Any,
        layers: LayerSums | None = None,
    ) -> None:
        self._trt, self._engine, self._info, self._device = trt, engine, info, device
        self._cache, self._layers = cache, layers
        tensors = trt.tensors(engine)
        self._inputs = {x.name: np.dtype(x.dtype) for x in tensors if x.is_input}
        (self._output,) = (x for x in tensors if not x.is_input)
        self._beds: dict[int, _Bed] = {}
        self._lock = threading.Lock()
        self._capture = not trt.is_rtx and layers is None

    def run(self, feeds: Mapping[str, Array]) -> Array:
        """Enqueue a run; the output is there for whatever is enqueued after it.

        Raises:
            EngineError: shapes that no profile of the engine takes.
            DeviceMemoryError: the device has no room.
            GraphRunError: TensorRT refuses.
        """
        with self._lock:
            stream, watch = self._device.compute, self._device.watch
            with watch.span(self._info.graph, "upload", stream):
                inputs = {name: self._there(name, feeds[name]) for name in self._inputs}
            shapes = {name: array.shape for name, array in inputs.items()}
            bed = self._bed(shapes)
            self._shape(bed, shapes)
            shape = tuple(bed.context.get_tensor_shape(self._output.name))
            output = self._device.empty(shape, np.dtype(self._output.dtype))
            tensors = {**inputs, self._output.name: output}
            for name, array in tensors.items():
                bed.context.set_tensor_address(name, array.pointer)
            with watch.span(self._info.graph, "compute", stream):
                self._launch(bed, tuple((*a.shape, a.pointer) for a in tensors.values()))
            output.maker = self._info.graph
            return output

    def close(self) -> None:
        """Give contexts and recorded launches back."""
        for bed in self._beds.values():
            self._forget(bed)
        self._beds.clear()

    def _there(self, name: str, array: Array) -> DeviceArray:
        dtype = self._inputs[name]
        if not isinstance(array, DeviceArray):
            return self._device.upload(np.asarray(array), dtype)
        if array.dtype != dtype or not array.contiguous:
            raise EngineError(
                f"The engine of {self._info.graph} takes {name} as {dtype}, not as {array.dtype}: "
                "its engines were not built together. Build them again with 'clit-deploy build'."
            )
        return array

    def _bed(self, shapes: Mapping[str, tuple[int, ...]]) -> _Bed:
        """The context of the first profile that takes these shapes."""
        for index, profile in enumerate(self._info.profiles):
            if all(_inside(shapes[name], *profile[name]) for name in shapes):
                if index not in self._beds:
                    context = self._trt.context(self._engine, self._cache)
                    if self._layers:
                        context.profiler = self._layers.of(self._info.graph)
                    context.set_optimization_profile_async(index, int(self._device.compute))
                    self._beds[index] = _Bed(context)
                return self._beds[index]
        name = max(shapes, key=lambda name: len(shapes[name]))
        ranges = ", ".join(f"{p[name][0]} to {p[name][2]}" for p in self._info.profiles)
        raise EngineError(
            f"The engine of {self._info.graph} takes {name} from {ranges}, not "
            f"{list(shapes[name])}. Build engines for larger tiles ('clit-deploy build --tile'), "
            "or use --runtime cpu."
        )

    def _shape(self, bed: _Bed, shapes: dict[str, tuple[int, ...]]) -> None:
        """Tell a context its shapes, and lend it the memory that they need."""
        if bed.shapes == shapes:
            return
        bed.shapes = {}
        for name, shape in shapes.items():
            if not bed.context.set_input_shape(name, shape):
                raise EngineError(f"{self._info.graph} refuses {name} {shape}: {self._trt.said()}")
        need = self._trt.working_memory(self._engine, bed.context)
        if bed.memory is None or bed.memory.size < need:
            self._forget(bed)  # what was recorded has the old memory's address in it
            bed.memory = None  # back to the pool before more is taken
            bed.memory = self._device.pool.take(need)
        self._trt.lend(bed.context, bed.memory.pointer, bed.memory.size)
        bed.shapes = shapes

    def _launch(self, bed: _Bed, key: Any) -> None:
        """Enqueue, from a recording where the same shapes and addresses came before.

        The pool gives its memory out in the same order again and again, so they do.
        """
        cuda, stream = self._device.cuda, self._device.compute
        if key in bed.recorded:
            bed.recorded.move_to_end(key)
            cuda.launch(bed.recorded[key], stream)
        elif self._capture and bed.met[key] >= OFTEN and (graph := self._record(bed)) is not None:
            bed.recorded[key] = graph
            if len(bed.recorded) > GRAPHS:
                cuda.destroy_graph(bed.recorded.popitem(last=False)[1])
            cuda.launch(graph, stream)
        else:
            self._enqueue(bed, stream)
            if len(bed.met) > MET:
                bed.met.clear()
            bed.met[key] += 1

    def _record(self, bed: _Bed) -> Any:
        """A recorded launch; None, once and for all, where the engine cannot be recorded.

        It is recorded on a stream of its own, by one thread at a time: others go on using the rest.
        """
        cuda, stream = self._device.cuda, self._device.recording
        with self._device.recorder:
            cuda.begin_capture(stream)
            refused: GraphRunError | None = None
            try:
                self._enqueue(bed, stream)
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
        self._capture = False
        log.info(
            "%s is enqueued anew every time, for recording fails: %s", self._info.graph, refused
        )
        return None

    def _enqueue(self, bed: _Bed, stream: Any) -> None:
        if not bed.context.execute_async_v3(int(stream)):
            raise GraphRunError(
                f"{self._trt.title} cannot run {self._info.graph}: {self._trt.said()}"
            )

    def _forget(self, bed: _Bed) -> None:
        for graph in bed.recorded.values():
            self._device.cuda.destroy_graph(graph)
        bed.recorded.clear()
        bed.met.clear()


def _inside(shape: tuple[int, ...], least: Any, _: Any, most: Any) -> bool:
    return all(a <= x <= b for a, x, b in zip(least, shape, most, strict=True))
