"""Enqueues the runs of an engine: on a context for each profile, or as CUDA graphs."""

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
    """The contexts of one engine. Not thread-safe."""

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
        self._graphs = CudaGraphCache(name, device, enabled=not trt.is_rtx and layers is None)
        self._outputs: dict[Any, tuple[int, ...]] = {}

    @property
    def profiles(self) -> set[int]:
        """The profiles that have run."""
        return set(self._states)

    def output_shape(self, profile: int, shapes: Shapes, output: str) -> tuple[int, ...]:
        """The shape of a run's output.

        Raises:
            EngineError: the engine rejects the input shapes.
        """
        key = profile, tuple(shapes.items())
        if key not in self._outputs:
            state = self._state(profile)
            self._set_shapes(state, shapes)
            if len(self._outputs) > MAX_SEEN:
                self._outputs.clear()
            self._outputs[key] = tuple(state.context.get_tensor_shape(output))
        return self._outputs[key]

    def launch(self, profile: int, shapes: Shapes, tensors: Mapping[str, DeviceArray]) -> None:
        """Enqueue a run.

        Args:
            profile: index of the optimization profile.
            shapes: of the inputs, by name.
            tensors: inputs and output, by name.

        Raises:
            EngineError, GraphRunError: TensorRT rejects the run.
            DeviceMemoryError: the device is out of memory.
        """
        key = profile, tuple((*a.shape, a.pointer) for a in tensors.values())
        if self._graphs.launch(key):
            return
        if self._graphs.should_capture(key) and self._capture(key, profile, shapes, tensors):
            return
        self._run(self._state(profile), shapes, tensors)

    def close(self) -> None:
        """Release contexts and CUDA graphs."""
        self._graphs.clear()
        self._states.clear()

    def _capture(
        self, key: Any, profile: int, shapes: Shapes, tensors: Mapping[str, DeviceArray]
    ) -> bool:
        """Enqueue a run on a new context and capture it for the next time.

        Returns: False if the context cannot run, so that another one must.
        """
        try:
            state = self._new_state(profile)
            self._run(state, shapes, tensors)
        except REFUSALS as error:
            self._graphs.stop(error)
            return False
        self._graphs.capture(key, state, lambda stream: self._enqueue(state, stream))
        return True

    def _state(self, profile: int) -> ContextState:
        if profile not in self._states:
            self._states[profile] = self._new_state(profile)
        return self._states[profile]

    def _new_state(self, profile: int) -> ContextState:
        context = self._trt.context(self._engine, self._kernels)
        if self._layers:
            context.profiler = self._layers.of(self._name)
        stream = int(self._device.compute)
        self._require(context.set_optimization_profile_async(profile, stream), f"profile {profile}")
        return ContextState(context)

    def _run(self, state: ContextState, shapes: Shapes, tensors: Mapping[str, DeviceArray]) -> None:
        self._set_shapes(state, shapes)
        # Held only until the run is enqueued.
        memory = self._device.scratch(state.workspace_size)
        if state.workspace_ptr != memory.pointer:
            self._trt.set_workspace(state.context, memory.pointer, memory.size, self._name)
            state.workspace_ptr = memory.pointer
        for name, array in tensors.items():
            self._require(
                state.context.set_tensor_address(name, array.pointer), f"memory for {name}"
            )
        self._enqueue(state, self._device.compute)

    def _set_shapes(self, state: ContextState, shapes: Shapes) -> None:
        if state.shapes == shapes:
            return
        state.shapes = {}
        for name, shape in shapes.items():
            self._require(state.context.set_input_shape(name, shape), f"{name} {list(shape)}")
        state.workspace_size = self._trt.workspace_size(self._engine, state.context)
        state.shapes, state.workspace_ptr = shapes, None

    def _require(self, done: bool, what: str) -> None:
        if not done:
            raise self._trt.failed(EngineError, f"{self._name} rejects {what}")

    def _enqueue(self, state: ContextState, stream: Any) -> None:
        if not state.context.execute_async_v3(int(stream)):
            raise self._trt.failed(GraphRunError, f"{self._trt.title} cannot run {self._name}")
