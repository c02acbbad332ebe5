"""Runs of ONNX Runtime sessions, with tensors of the host or with tensors of a device."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from clit_deploy.errors import DeviceMemoryError, GraphRunError, MemoryBudgetError, quote
from clit_deploy.runtimes.cuda.device_arrays import DeviceArray, DeviceArrays, dense
from clit_deploy.runtimes.ort.sessions import ort_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from clit_deploy.runtimes.protocols import Array
    from clit_deploy.runtimes.usage import Usage


def run_options(*, on_device: bool = False) -> ort.RunOptions:
    """Options that all runs of a runtime share: their `terminate` stops all of them."""
    options = ort.RunOptions()
    options.log_severity_level = 4  # a run that is stopped would log an error
    if on_device:  # what comes next waits on the stream, not on the host
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    return options


class OrtRunner:
    """One session; ONNX Runtime allows concurrent runs of it."""

    memory_error: type[MemoryBudgetError] = MemoryBudgetError

    def __init__(
        self, session: ort.InferenceSession, options: ort.RunOptions, usage: Usage
    ) -> None:
        self._session, self._options, self._usage = session, options, usage
        self._inputs = {value.name: value.shape for value in session.get_inputs()}
        self._output = session.get_outputs()[0]

    def run(self, feeds: Mapping[str, Array]) -> NDArray[np.generic]:
        """Run on the inputs that the graph has; other feeds are ignored.

        Raises:
            GraphRunError: ONNX Runtime cannot run the graph, or its output has another shape
                than it declares.
            MemoryBudgetError: it cannot allocate what the graph needs.
            ClosedError: the runtime is closed, or was opened before a fork.
        """
        inputs = {name: value for name, value in feeds.items() if name in self._inputs}
        with self._usage, ort_errors("run", self._usage, self.memory_error):
            output: NDArray[np.generic] = self._session.run(None, inputs, self._options)[0]
        self._check(output, inputs)
        return output

    def _check(self, output: NDArray[np.generic], inputs: Mapping[str, Array]) -> None:
        """ONNX Runtime only warns if a graph declares a wrong shape."""
        known = {
            dim: size
            for name, value in inputs.items()
            for dim, size in zip(self._inputs[name], value.shape, strict=True)
        }
        declared = [known.get(dim, dim) for dim in self._output.shape]
        pairs = zip(declared, output.shape, strict=False)
        if len(declared) != output.ndim or any(
            isinstance(dim, int) and dim != size for dim, size in pairs
        ):
            raise GraphRunError(
                f"A graph returned {self._output.name} of shape {output.shape} instead of "
                f"{quote(declared)}."
            )


class BoundRunner:
    """One session whose inputs and output stay on the device, enqueued on its stream."""

    def __init__(
        self,
        session: ort.InferenceSession,
        options: ort.RunOptions,
        usage: Usage,
        device: DeviceArrays,
    ) -> None:
        self._session, self._options, self._usage = session, options, usage
        self._device = device
        self._inputs = {value.name: _NUMPY[value.type] for value in session.get_inputs()}
        (self._output,) = session.get_outputs()
        self._lock = threading.Lock()

    def run(self, feeds: Mapping[str, Array]) -> Array:
        """Enqueue a run. ONNX Runtime's own pool holds the output for as long as it is used.

        Raises:
            GraphRunError: ONNX Runtime cannot run the graph.
            DeviceMemoryError: the device cannot allocate what the graph needs.
            ClosedError: the runtime is closed, or was opened before a fork.
        """
        with self._usage, self._lock, ort_errors("run", self._usage, DeviceMemoryError):
            binding = self._session.io_binding()
            held = {n: self._device.taken(feeds[n], kind, n) for n, kind in self._inputs.items()}
            for name, array in held.items():
                where = "cuda", 0, array.dtype, list(array.shape), array.pointer
                binding.bind_input(name, *where)
            binding.bind_output(self._output.name, "cuda", 0)
            self._session.run_with_iobinding(binding, self._options)
            (value,) = binding.get_outputs()
            dtype, shape = _NUMPY[self._output.type], tuple(value.shape())
            return DeviceArray(value, value.data_ptr(), shape, dense(shape, dtype.itemsize), dtype)


_NUMPY: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
}
