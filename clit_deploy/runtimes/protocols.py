"""The protocols that a runtime implements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from clit_deploy.plan.plan_file import Plan


class Array(Protocol):
    """A tensor where its runtime keeps it: a numpy array, or a block of device memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the elements."""
        ...

    def __getitem__(self, index: Any, /) -> Any:
        """A view on a part of it, by integers and slices of step 1."""
        ...

    def __len__(self) -> int:
        """Length of the first axis."""
        ...


class Arrays(Protocol):
    """Makes and copies tensors on the device of a runtime."""

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """A tensor with undefined content."""
        ...

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """A tensor of zeros."""
        ...

    def copy(self, target: Array, source: Array) -> None:
        """Copy a view onto another of the same shape."""
        ...

    def host(self, array: Array) -> NDArray[np.float32]:
        """A tensor's content as a numpy array of float32; waits until it is computed."""
        ...


class Runner(Protocol):
    """One graph with one output, ready to run. Thread-safe."""

    def run(self, feeds: Mapping[str, Array]) -> Array:
        """Run the graph on named inputs (of numpy, or of the runtime) and return its output."""
        ...


@dataclass(frozen=True)
class WorkLimits:
    """How much work a device does at once.

    A CPU decodes as many grid cells in a chunk as its cache holds. A GPU decodes `chunk_factor`
    times as many. Its engines are built for ranges of shapes, so grid cells come in classes: up to
    `cell_classes[0]` queries along an axis, up to `cell_classes[1]`, and so on, each class with a
    fixed number of cells in a chunk.
    """

    workers: int = 1
    """Concurrent runs of graphs that are not opened with `parallel`."""
    chunk_factor: int = 1
    """Decoder chunk size, as a multiple of the CPU chunk size."""
    cell_classes: tuple[int, ...] = ()
    """Largest number of queries along an axis, for each class of cells; empty on a CPU."""
    max_tile: int | None = None
    """Largest side of an encoder tile, in pixels; None without a limit."""
    max_block: int | None = None
    """Largest side of an output block, in pixels; None without a limit."""
    dedicated_memory: bool = True
    """Whether the device has its own memory; a Jetson shares that of the CPU."""
    chunk_bytes: float = 0
    """Bytes of tensors up to which chunks of small models are larger than their plan states."""


ON_DEVICE = WorkLimits(workers=2, chunk_factor=24, cell_classes=(5, 16, 64))
"""Limits of a GPU. With two workers the next chunk is decoded while the colors of the last one are
copied to the host. The classes of cells cover a factor of 4 (5 after rounding), of x16 in one
stage, and the largest that a block can have."""


def on_cpu(threads: int) -> WorkLimits:
    """Limits of a CPU that decodes on so many threads at once.

    A chunk of a small model may have as many bytes as one of the published size, and all chunks
    together four times as many.
    """
    return WorkLimits(workers=threads, chunk_bytes=min(60e6, 240e6 / threads))


class Runtime(Protocol):
    """Opens graphs, and owns what they run on."""

    name: str
    """For messages, like `onnxruntime 1.32.0 (CPU, 2 threads)`."""
    work_limits: WorkLimits
    arrays: Arrays
    on_device: bool
    """Whether its graphs run on a GPU."""

    def runner(
        self, plan: Plan, member: str, *, parallel: bool, dims: Mapping[str, int] | None = None
    ) -> Runner:
        """Open a graph of a plan.

        Args:
            plan: contains the graph.
            member: the graph's name in the plan.
            parallel: True if one run at a time uses all threads (encoder, projection); False if
                each run uses one thread, and several runs are concurrent (decoder).
            dims: lengths of symbolic dimensions, so that the runtime can specialize the graph.

        Raises:
            GraphRunError: the runtime cannot load the graph.
            ClosedError: the runtime is closed, or was opened before a fork.
        """
        ...

    def close(self) -> None:
        """Stop runs that are under way, and release what the runtime holds. Again is harmless."""
        ...


@dataclass(frozen=True)
class DeviceTime:
    """Device times of all runs of a graph, in milliseconds, from events on the device."""

    member: str
    """The graph's name in the plan."""
    runs: int
    upload_ms: float
    compute_ms: float
    download_ms: float


@runtime_checkable
class DeviceMeter(Protocol):
    """Optional: the times and the memory of a runtime's device.

    Its events must not make a run wait: `profile` takes device and host times in the same runs.
    """

    def start_device_times(self) -> None:
        """Time every run from now on, and drop earlier times."""
        ...

    def device_times(self) -> Sequence[DeviceTime]:
        """The sums for each graph since the start; waits for runs that are under way."""
        ...

    def device_bytes(self) -> Mapping[str, int]:
        """Bytes of device memory by purpose, like `engines` and `tensors`; they add up."""
        ...


@dataclass(frozen=True)
class LayerTime:
    """The time of one layer of a graph over all timed runs, in milliseconds."""

    member: str
    """The graph's name in the plan."""
    layer: str
    """The layer's name in the runtime, after its fusions."""
    kind: str
    """Its operator, or what the runtime calls it."""
    runs: int
    """Timed runs of its graph; a runtime may time only the first ones."""
    ms: float


@runtime_checkable
class LayerProfiler(Protocol):
    """Optional: the times of single layers, measured in a separate pass."""

    def start_layers(self) -> None:
        """Time the layers of graphs that are opened from now on, which slows them down."""
        ...

    def layers(self) -> Sequence[LayerTime]:
        """The times of all layers; ends the timing."""
        ...
