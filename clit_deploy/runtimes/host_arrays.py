"""Tensors in host memory, as numpy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clit_deploy.runtimes.protocols import Array


class HostArrays:
    """See `Arrays`."""

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """A tensor with undefined content."""
        return np.empty(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """A tensor of zeros."""
        return np.zeros(shape, dtype)

    def copy(self, target: Any, source: Any) -> None:
        """Copy a view onto another of the same shape."""
        np.copyto(target, source)

    def host(self, array: Any) -> NDArray[np.float32]:
        """The array itself, converted to float32 if it has another type."""
        return np.asarray(array, np.float32)
