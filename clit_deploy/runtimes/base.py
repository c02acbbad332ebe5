"""The two small protocols that a runtime fulfils."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray


class Runner(Protocol):
    """One graph with one output, ready to run; may be called from several threads at once."""

    def run(self, feeds: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Run the graph on named inputs and return its output."""
        ...


class Runtime(Protocol):
    """Makes runners."""

    name: str
    """What it is, for people: `onnxruntime 1.32.0 (CPU, 2 threads)`."""
    workers: int
    """How many narrow runs at once make the best of the device."""

    def runner(self, graph: bytes, *, wide: bool, dims: Mapping[str, int] | None = None) -> Runner:
        """Open a serialised ONNX graph.

        Args:
            graph: the ONNX file's bytes.
            wide: one run at a time uses the whole device (encoder, project), or each run is
                narrow and `workers` of them go side by side (decode).
            dims: symbolic dimensions to fix, so that the runtime can specialise.
        """
        ...
