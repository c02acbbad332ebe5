"""Enqueuing an engine's runs: on a context for each profile, or from recordings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clit_deploy.errors import EngineError, GraphRunError
from clit_deploy.runtimes.trt.cuda_graphs import MAX_SEEN, REFUSALS, ContextState, CudaGraphCache

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clit_deploy.runtimes.cuda.device_arrays import DeviceArray, DeviceArrays
    from clit_deploy.runtimes.trt.cuda_graphs import Shapes
    from clit_deploy.runtimes.trt.tensorrt_api import Kernels, TensorRT
    from clit_deploy.runtimes.trt.trt_layers import LayerSums


class Launcher:
    """One engine's contexts. Not to be used by two threads at once."""

    def __init__(
        self,
        trt: TensorRT,
        engine: Any,
        name: str,
        device: DeviceArrays,
        kernels: Kernels,
        layers: LayerSums | None = None,
    ) -> None:
        self._trt, self._engine, self._name, self._device = trt, engine, name, device
        self._kernels, self._layers = kernels, layers
        self._states: dict[int, ContextState] = {}
        self._graphs = CudaGraphCache(name, device, wanted=not trt.is_rtx and layers is None)
        self._outputs: dict[Any, tuple[int, ...]] = {}

    @property
    def profiles(self) -> set[int]:
        """The profiles that have run."""
        return set(self._states)

    def output_shape(self, profile: int, shapes: Shapes, output: str) -> tuple[int, ...]:
        """The shape that a run's output is going to have."""
        key = profile, tuple(shapes.items())
        if key not in self._outputs:
            state = self._state(profile)
            self._tell_shapes(state, shapes)
            if len(self._outputs) > MAX_SEEN:
                self._outputs.clear()
            self._outputs[key] = tuple(state.context.get_tensor_shape(output))
        return self._outputs[key]

    def launch(self, profile: int, shapes: Shapes, tensors: Mapping[str, DeviceArray]) -> None:
        """Enqueue a run."""
        key = profile, tuple((*a.shape, a.pointer) for a in tensors.values())
        if self._graphs.launch(key):
            return
        if self._graphs.due(key) and self._record(key, profile, shapes, tensors):
            return
        self._run(self._state(profile), shapes, tensors)

    def close(self) -> None:
        """Give contexts and recordings back."""
        self._graphs.clear()
        self._states.clear()

    def _record(
        self, key: Any, profile: int, shapes: Shapes, tensors: Mapping[str, DeviceArray]
    ) -> bool:
        """Enqueue a run on a context of its own, and record it for the next time; False where there
        is no such context, so that another one has to run."""
        try:
            state = self._made(profile)
            self._run(state, shapes, tensors)
        except REFUSALS as error:
            self._graphs.stop(error)
            return False
        self._graphs.keep(key, state, lambda stream: self._enqueue(state, stream))
        return True

    def _state(self, profile: int) -> ContextState:
        if profile not in self._states:
            self._states[profile] = self._made(profile)
        return self._states[profile]

    def _made(self, profile: int) -> ContextState:
        context = self._trt.context(self._engine, self._kernels)
        if self._layers:
            context.profiler = self._layers.of(self._name)
        stream = int(self._device.compute)
        self._must(context.set_optimization_profile_async(profile, stream), f"profile {profile}")
        return ContextState(context)

    def _run(self, state: ContextState, shapes: Shapes, tensors: Mapping[str, DeviceArray]) -> None:
        self._tell_shapes(state, shapes)
        # Held until the run is enqueued, no longer.
        memory = self._device.scratch(state.workspace_size)
        if state.workspace_ptr != memory.pointer:
            self._trt.lend(state.context, memory.pointer, memory.size, self._name)
            state.workspace_ptr = memory.pointer
        for name, array in tensors.items():
            self._must(state.context.set_tensor_address(name, array.pointer), f"memory for {name}")
        self._enqueue(state, self._device.compute)

    def _tell_shapes(self, state: ContextState, shapes: Shapes) -> None:
        if state.shapes == shapes:
            return
        state.shapes = {}
        for name, shape in shapes.items():
            self._must(state.context.set_input_shape(name, shape), f"{name} {list(shape)}")
        state.workspace_size = self._trt.working_memory(self._engine, state.context)
        state.shapes, state.workspace_ptr = shapes, None

    def _must(self, done: bool, what: str) -> None:
        if not done:
            raise self._trt.failed(EngineError, f"{self._name} refuses {what}")

    def _enqueue(self, state: ContextState, stream: Any) -> None:
        if not state.context.execute_async_v3(int(stream)):
            raise self._trt.failed(GraphRunError, f"{self._trt.title} cannot run {self._name}")
