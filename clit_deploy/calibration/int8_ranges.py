"""Quantization ranges: the largest magnitude of each tensor on real inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.errors import CalibrationError
from clit_deploy.passes.inner_tensors import session_with

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import onnx
    from numpy.typing import NDArray

METHOD = "minmax"
"""What plans call this choice of ranges. Clipping the rarest magnitudes, or those that minimize the
divergence of the quantized distribution, was not better for one model and hardly for another."""

LEVELS = 128
"""Magnitudes of symmetric int8, including zero."""

MIN_RANGE = LEVELS * 2.0**-24
"""The smallest range whose step is not zero in FP16."""


@dataclass(frozen=True)
class Observed:
    """A tensor on real inputs."""

    range: float
    """Its largest magnitude, at least `MIN_RANGE`; 1 if all its numbers are zero, which any step
    represents."""
    elements: float
    """How many numbers it has, on average over the batches."""


def observe(
    model: onnx.ModelProto,
    tensors: Iterable[str],
    batches: Iterable[Mapping[str, NDArray[np.generic]]],
) -> dict[str, Observed]:
    """Run a graph on batches and find the range and the size of some of its tensors.

    Args:
        model: float32.
        tensors: inputs or inner tensors, by name.
        batches: inputs, by name.

    Raises:
        CalibrationError: a tensor contains NaN or infinity.
    """
    wanted = sorted(set(tensors))
    inputs = {value.name for value in model.graph.input}
    largest, elements, count = dict.fromkeys(wanted, 0.0), dict.fromkeys(wanted, 0), 0
    inner = [name for name in wanted if name not in inputs]
    session = session_with(model, inner)
    for batch in batches:
        feeds = {name: value for name, value in batch.items() if name in inputs}
        found = dict(zip(inner, session.run(inner, feeds), strict=True)) if inner else {}
        count += 1
        for name in wanted:
            values = np.asarray(found[name] if name in found else feeds[name], np.float32)
            magnitude = float(np.abs(values).max(initial=0.0))
            if not np.isfinite(magnitude):
                raise CalibrationError(
                    f"{name} in {model.graph.name} of the float plan reaches {magnitude}; "
                    "check the weights of the checkpoint."
                )
            largest[name] = max(largest[name], magnitude)
            elements[name] += values.size
    return {
        name: Observed(max(value, MIN_RANGE) if value else 1.0, elements[name] / max(count, 1))
        for name, value in largest.items()
    }
