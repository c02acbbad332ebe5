"""The small protocols that a runtime fulfils."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from clit_deploy.plan.plan_file import Plan


class Array(Protocol):
    """A tensor where its runtime keeps it: a numpy array, or a piece of a device's memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numbers' type."""
        ...

    def __getitem__(self, index: Any, /) -> Any:
        """A view on some of it, by whole numbers and slices of step 1."""
        ...

    def __len__(self) -> int:
        """Length of the first axis."""
        ...


class Arrays(Protocol):
    """Makes and moves tensors without taking them off their device."""

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Room for a tensor; its content is undefined."""
        ...

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """A tensor of zeros."""
        ...

    def copy(self, target: Array, source: Array) -> None:
        """Copy a view onto another of the same shape."""
        ...

    def host(self, array: Array) -> NDArray[np.float32]:
        """A tensor's content as a numpy array of float32; waits until it is there."""
        ...


class Runner(Protocol):
    """One graph with one output, ready to run; may be called from several threads at once."""

    def run(self, feeds: Mapping[str, Array]) -> Array:
        """Run the graph on named inputs (numpy's, or the runtime's own) and return its output."""
        ...


@dataclass(frozen=True)
class WorkLimits:
    """How much work a device takes at once.

    A CPU decodes as many cells as its cache holds. A device takes `chunk_factor` times as many,
    and as its engines are built for ranges of shapes, cells come in classes: up to
    `cell_classes[0]` queries along an axis, up to `cell_classes[1]`, and so on, each with a fixed
    number of cells.
    """

    workers: int = 1
    """Runs that go side by side, of graphs that are not opened as parallel ones."""
    chunk_factor: int = 1
    """Size of a decoder chunk, as a multiple of the CPU's."""
    cell_classes: tuple[int, ...] = ()
    """Largest number of queries along an axis of each class of cells; none on a CPU."""
    max_tile: int | None = None
    """Largest side of an encoder tile in pixels; None without a limit."""
    max_block: int | None = None
    """Largest side of a block of the output in pixels; None without a limit."""
    dedicated_memory: bool = True
    """Whether a device has memory of its own; a Jetson shares the machine's."""


ON_DEVICE = WorkLimits(workers=2, chunk_factor=24, cell_classes=(5, 16, 64))
"""Limits of a GPU. Two workers: while one chunk's colours travel to the host and are put in place,
the next one decodes. Classes of cells: one factor of 4 (5 where sides round), up to x16 in one
stage, and the most that a block can have."""


class Runtime(Protocol):
    """Makes runners."""

    name: str
    """What it is, for people: `onnxruntime 1.32.0 (CPU, 2 threads)`."""
    work_limits: WorkLimits
    arrays: Arrays
    on_device: bool
    """Whether its graphs run elsewhere than on the CPU."""

    def runner(
        self, plan: Plan, member: str, *, parallel: bool, dims: Mapping[str, int] | None = None
    ) -> Runner:
        """Open a graph of a plan.

        Args:
            plan: where the graph is.
            member: its name in the plan.
            parallel: one run at a time uses the whole device (encoder, project), or each run is
                narrow and several of them go side by side (decode).
            dims: symbolic dimensions to fix, so that the runtime can specialise.
        """
        ...

    def close(self) -> None:
        """Give back what the runtime itself holds."""
        ...


@dataclass(frozen=True)
class DeviceTime:
    """What all runs of a graph took on the device, by the device's own events; milliseconds."""

    member: str
    """The graph's name in the plan."""
    runs: int
    upload_ms: float
    compute_ms: float
    download_ms: float


@runtime_checkable
class DeviceClock(Protocol):
    """What a runtime may offer beside: times on its device, never mixed with the host's.

    Events must not make a run wait that would not have waited, for `profile` takes them in the
    same runs as the host's times.
    """

    def start_device_times(self) -> None:
        """Time every run from here on, and forget what was timed before."""
        ...

    def device_times(self) -> Sequence[DeviceTime]:
        """A sum for each graph that ran since the start; waits for what is under way."""
        ...


@dataclass(frozen=True)
class LayerTime:
    """What one layer of a graph took over all runs that were timed; milliseconds."""

    member: str
    """The graph's name in the plan."""
    layer: str
    """The layer's name, as the runtime has it after its own fusions."""
    kind: str
    """Its operator, or the runtime's word for it."""
    runs: int
    """Of its graph, that were timed; a runtime may time the first ones alone."""
    ms: float


@runtime_checkable
class LayerProfiler(Protocol):
    """What a runtime may offer beside: times of single layers, in a pass of their own."""

    def start_layers(self) -> None:
        """Have the graphs that are opened from here on time their layers; that slows them."""
        ...

    def layers(self) -> Sequence[LayerTime]:
        """What was timed; ends the timing."""
        ...


@runtime_checkable
class DeviceMemory(Protocol):
    """What a runtime may offer beside: the memory of its device."""

    def device_bytes(self) -> Mapping[str, int]:
        """Bytes by what they are for, like `weights` and `activations`; they add up."""
        ...
