"""Enqueuing an engine's runs: on a context for each profile, or from recordings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clit_deploy.errors import EngineError, GraphRunError
from clit_deploy.runtimes.trt.cuda_graphs import MET, REFUSALS, Recordings, Seat

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
        self._seats: dict[int, Seat] = {}
        self._recordings = Recordings(name, device, wanted=not trt.is_rtx and layers is None)
        self._outputs: dict[Any, tuple[int, ...]] = {}

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
        if self._recordings.launch(key):
            return
        if self._recordings.due(key) and self._record(key, profile, shapes, tensors):
            return
        self._run(self._seat(profile), shapes, tensors)

    def close(self) -> None:
        """Give contexts and recordings back."""
        self._recordings.clear()
        self._seats.clear()

    def _record(
        self, key: Any, profile: int, shapes: Shapes, tensors: Mapping[str, DeviceArray]
    ) -> bool:
        """Enqueue a run on a context of its own, and record it for the next time; False where there
        is no such context, so that another one has to run."""
        try:
            seat = self._made(profile)
            self._run(seat, shapes, tensors)
        except REFUSALS as error:
            self._recordings.stop(error)
            return False
        self._recordings.keep(key, seat, lambda stream: self._enqueue(seat, stream))
        return True

    def _seat(self, profile: int) -> Seat:
        if profile not in self._seats:
            self._seats[profile] = self._made(profile)
        return self._seats[profile]

    def _made(self, profile: int) -> Seat:
        context = self._trt.context(self._engine, self._kernels)
        if self._layers:
            context.profiler = self._layers.of(self._name)
        stream = int(self._device.compute)
        self._must(context.set_optimization_profile_async(profile, stream), f"profile {profile}")
        return Seat(context)

    def _run(self, seat: Seat, shapes: Shapes, tensors: Mapping[str, DeviceArray]) -> None:
        self._tell_shapes(seat, shapes)
        memory = self._device.scratch(seat.need)  # held until the run is enqueued, no longer
        if seat.lent != memory.pointer:
            self._trt.lend(seat.context, memory.pointer, memory.size, self._name)
            seat.lent = memory.pointer
        for name, array in tensors.items():
            self._must(seat.context.set_tensor_address(name, array.pointer), f"memory for {name}")
        self._enqueue(seat, self._device.compute)

    def _tell_shapes(self, seat: Seat, shapes: Shapes) -> None:
        if seat.shapes == shapes:
            return
        seat.shapes = {}
        for name, shape in shapes.items():
            self._must(seat.context.set_input_shape(name, shape), f"{name} {list(shape)}")
        seat.need = self._trt.working_memory(self._engine, seat.context)
        seat.shapes, seat.lent = shapes, None

    def _must(self, done: bool, what: str) -> None:
        if not done:
            raise self._trt.failed(EngineError, f"{self._name} refuses {what}")

    def _enqueue(self, seat: Seat, stream: Any) -> None:
        if not seat.context.execute_async_v3(int(stream)):
            raise self._trt.failed(GraphRunError, f"{self._trt.title} cannot run {self._name}")
