"""Times of single layers, as TensorRT reports them. A context then waits after every run."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from clit_deploy.runtimes.protocols import LayerTime

if TYPE_CHECKING:
    from clit_deploy.runtimes.trt.tensorrt_api import TensorRT


class LayerSums:
    """Collects the times of all layers, by graph and layer."""

    def __init__(self, trt: TensorRT) -> None:
        self._sums: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        self._reporter = _reporter(trt.trt)
        self._kept: list[Any] = []
        """Profilers, to which TensorRT itself keeps no reference."""

    def of(self, member: str) -> Any:
        """Make a profiler for a context of a graph."""
        self._kept.append(self._reporter(lambda layer, ms: self._sums[member, layer].append(ms)))
        return self._kept[-1]

    def take(self) -> list[LayerTime]:
        """The times of all layers, slowest first."""
        found = [
            LayerTime(member, layer, "layer", len(times), sum(times))
            for (member, layer), times in self._sums.items()
        ]
        return sorted(found, key=lambda layer: -layer.ms)


def _reporter(module: Any) -> Any:
    class Reporter(module.IProfiler):  # type: ignore[misc]  # the bindings have no types
        def __init__(self, note: Any) -> None:
            module.IProfiler.__init__(self)
            self._note = note

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self._note(layer_name, ms)

    return Reporter
