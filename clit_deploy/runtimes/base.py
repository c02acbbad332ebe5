"""The small protocols that a runtime fulfils."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from clit_deploy.bundle import Plan


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
class Appetite:
    """How much work a device takes at once.

    A processor decodes as many cells as its cache holds. A device takes `times` as many, and as
    its engines are built for boxes of shapes, cells come in classes: up to `sides[0]` queries
    along an axis, up to `sides[1]`, and so on, each with a fixed number of cells.
    """

    workers: int = 1
    """How many narrow runs at once make the best of the device."""
    times: int = 1
    sides: tuple[int, ...] = ()
    tile: int | None = None
    """Largest side of an encoder tile, where there is a limit."""
    block: int | None = None
    """Largest side of a block of the output."""


ON_DEVICE = Appetite(workers=2, times=24, sides=(5, 16, 64))
"""Of a GPU. Two workers: while one chunk's colours travel to the host and are put in their places,
the next one decodes. Classes of cells: one factor of 4 (5 where sides round), up to x16 in one
stage, and the most that a block can have."""


class Runtime(Protocol):
    """Makes runners."""

    name: str
    """What it is, for people: `onnxruntime 1.32.0 (CPU, 2 threads)`."""
    appetite: Appetite
    arrays: Arrays

    def runner(
        self, plan: Plan, member: str, *, wide: bool, dims: Mapping[str, int] | None = None
    ) -> Runner:
        """Open a graph of a plan.

        Args:
            plan: where the graph is.
            member: its name in the plan.
            wide: one run at a time uses the whole device (encoder, project), or each run is
                narrow and several of them go side by side (decode).
            dims: symbolic dimensions to fix, so that the runtime can specialise.
        """
        ...

    def close(self) -> None:
        """Give back what the runtime itself holds."""
        ...
