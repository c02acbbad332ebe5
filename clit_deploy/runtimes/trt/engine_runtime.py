"""Runs the TensorRT engines of a plan on a device, without waiting between runs."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from clit_deploy.errors import DamageError, EngineError, UnfitEngineError
from clit_deploy.runtimes.cuda.device_arrays import DeviceArrays
from clit_deploy.runtimes.protocols import ON_DEVICE, WorkLimits
from clit_deploy.runtimes.trt.launch import Launcher
from clit_deploy.runtimes.trt.tensorrt_api import Kernels
from clit_deploy.runtimes.trt.trt_layers import LayerSums
from clit_deploy.runtimes.usage import Usage
from clit_deploy.system.cache import Store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clit_deploy.plan.manifest import Engine, EngineSet
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.runtimes.cuda.cuda_api import Cuda
    from clit_deploy.runtimes.protocols import Array, Arrays, DeviceTime, LayerTime, Runner
    from clit_deploy.runtimes.trt.tensorrt_api import TensorRT

log = logging.getLogger(__name__)


class EngineRuntime:
    """A `Runtime` that runs the engines of a plan."""

    def __init__(self, trt: TensorRT, engines: EngineSet, cuda: Cuda) -> None:
        self.name = f"{trt.title} ({cuda.gpu.name})"
        self.work_limits = WorkLimits(
            ON_DEVICE.workers,
            engines.times,
            engines.sides,
            engines.tile,
            engines.block,
            not cuda.gpu.integrated,
        )
        self._device = DeviceArrays(cuda)
        self.arrays: Arrays = self._device
        self._trt = trt
        self.engines = engines
        self._engines = {engine.graph: engine for engine in engines.engines}
        self._loaded: dict[str, Any] = {}
        self._runners: dict[str, EngineRunner] = {}
        self.on_device = True
        self._layers: LayerSums | None = None
        self._weights = 0
        self._store = Store(f"runtime-{trt.flavour.value}-{trt.version}-{cuda.gpu.name}")
        self.kernels = Kernels()
        self._usage = Usage(lambda: None)  # a run only enqueues, so there is nothing to stop

    def repair(self) -> str:
        """What helps where the engines compute wrong results."""
        return self._trt.repair()

    def load(self, plan: Plan) -> None:
        """Load all engines now, so that none fails in the middle of an image.

        Raises:
            UnfitEngineError: one is damaged, or the library cannot load it.
            DeviceMemoryError: their weights do not fit into the device memory.
        """
        for member in self._engines:
            self._engine(plan, member)

    def _engine(self, plan: Plan, member: str) -> Any:
        if member not in self._loaded:
            try:
                content = plan.read(self._engines[member].member)
            except DamageError as error:
                raise UnfitEngineError(f"the engine of {member} is damaged") from error
            self._loaded[member] = self._trt.deserialize(content, member)
            self._weights += len(content)
        return self._loaded[member]

    def runner(
        self,
        plan: Plan,
        member: str,
        *,
        parallel: bool,  # noqa: ARG002
        dims: Mapping[str, int] | None = None,  # noqa: ARG002
    ) -> Runner:
        """A graph's engine. It accepts every shape of its profiles, so `dims` are not needed.

        Raises:
            EngineError: the plan has no engine of the graph.
            ClosedError: the runtime is closed, or was opened before a fork.
        """
        self._usage.check()
        if member not in self._runners:
            if member not in self._engines:
                raise EngineError(f"The plan has no engine of {member}; build its engines again.")
            loaded = self._engine(plan, member)
            if self.kernels.cache is None:
                self.kernels.cache = self._trt.runtime_cache(loaded, self._store.read())
            self._runners[member] = EngineRunner(
                self._trt,
                loaded,
                self._engines[member],
                self._device,
                self._usage,
                Launcher(self._trt, loaded, member, self._device, self.kernels, self._layers),
            )
        return self._runners[member]

    def used(self, member: str) -> set[int]:
        """Indexes of the profiles of a graph's engine that have run."""
        return self._runners[member].used if member in self._runners else set()

    def start_device_times(self) -> None:
        """See `DeviceMeter`."""
        self._device.watch.start()

    def device_times(self) -> Sequence[DeviceTime]:
        """See `DeviceMeter`."""
        return self._device.watch.times()

    def device_bytes(self) -> Mapping[str, int]:
        """See `DeviceMeter`."""
        return {"engines": self._weights, "tensors": self._device.pool.held}

    def start_layers(self) -> None:
        """See `LayerProfiler`."""
        self._layers = LayerSums(self._trt)

    def layers(self) -> Sequence[LayerTime]:
        """See `LayerProfiler`."""
        sums, self._layers = self._layers, None
        return sums.take() if sums else []

    def close(self) -> None:
        """Store the kernels that were compiled here, and release the device."""
        if not self._usage.close():
            return
        self._device.settle()
        for runner in self._runners.values():
            runner.close()
        self._runners.clear()
        self._loaded.clear()
        cache, self.kernels.cache = self.kernels.cache, None
        if cache is not None and (content := cache.serialize()) is not None:
            self._store.write(bytes(content))
        self._device.close()


class EngineRunner:
    """One engine. Runs are enqueued one after another, from whichever thread."""

    def __init__(
        self,
        trt: TensorRT,
        engine: Any,
        info: Engine,
        device: DeviceArrays,
        usage: Usage,
        launcher: Launcher,
    ) -> None:
        self._info, self._device, self._usage, self._launcher = info, device, usage, launcher
        tensors = trt.tensors(engine)
        self._inputs = {x.name: np.dtype(x.dtype) for x in tensors if x.is_input}
        (self._output,) = (x for x in tensors if not x.is_input)
        self._lock = threading.Lock()

    def run(self, feeds: Mapping[str, Array]) -> Array:
        """Enqueue a run. Whatever is enqueued later can use its output.

        Raises:
            EngineError: no profile of the engine accepts the shapes.
            DeviceMemoryError: the device is out of memory.
            GraphRunError: TensorRT cannot enqueue the run.
            ClosedError: the runtime is closed, or was opened before a fork.
        """
        with self._usage, self._lock:
            stream, watch = self._device.compute, self._device.watch
            member = self._info.graph
            inputs = {
                name: self._device.taken(feeds[name], dtype, f"{member}: {name}", member)
                for name, dtype in self._inputs.items()
            }
            shapes = {name: array.shape for name, array in inputs.items()}
            profile = self._profile(shapes)
            shape = self._launcher.output_shape(profile, shapes, self._output.name)
            output = self._device.empty(shape, np.dtype(self._output.dtype))
            with watch.span(self._info.graph, "compute", stream):
                self._launcher.launch(profile, shapes, {**inputs, self._output.name: output})
            output.maker = self._info.graph
            return output

    @property
    def used(self) -> set[int]:
        """Indexes of the profiles that have run."""
        return self._launcher.profiles

    def close(self) -> None:
        """Release contexts and CUDA graphs."""
        self._launcher.close()

    def _profile(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        """The index of the first profile that accepts these shapes."""
        fits = [
            {name for name, shape in shapes.items() if _inside(shape, *profile[name])}
            for profile in self._info.profiles
        ]
        for index, names in enumerate(fits):
            if len(names) == len(shapes):
                return index
        nearest = max(fits, key=len)
        name = next(name for name in shapes if name not in nearest)
        ranges = ", ".join(f"{p[name][0]} to {p[name][2]}" for p in self._info.profiles)
        raise EngineError(
            f"The engine of {self._info.graph} accepts {name} from {ranges}, not "
            f"{list(shapes[name])}. Build engines for larger tiles and chunks ('clit-deploy build "
            "--tile, --chunk'), or use --runtime cpu."
        )


def _inside(shape: tuple[int, ...], lower: Any, _: Any, upper: Any) -> bool:
    return all(a <= x <= b for a, x, b in zip(lower, shape, upper, strict=True))
