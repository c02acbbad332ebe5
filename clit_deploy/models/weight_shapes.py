"""The names and shapes of a state dict, to find out what it is of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class WeightShapes:
    """Shapes by name; what is not there is 0.

    Args:
        weights: tensors by the model's own names.
    """

    def __init__(self, weights: Mapping[str, Any]) -> None:
        self._shapes = {name: tuple(value.shape) for name, value in weights.items()}
        self._weights = weights

    def __contains__(self, name: str) -> bool:
        return name in self._shapes

    def inside(self, prefix: str) -> WeightShapes:
        """The part below a prefix, without the prefix."""
        return WeightShapes(
            {
                name.removeprefix(prefix): value
                for name, value in self._weights.items()
                if name.startswith(prefix)
            }
        )

    def at(self, name: str, axis: int) -> int:
        """A dimension of a tensor."""
        shape = self._shapes.get(name, ())
        return shape[axis] if len(shape) > axis else 0

    def count(self, pattern: str) -> int:
        """How many numbers a pattern finds in the names."""
        return len({found[1] for name in self._shapes if (found := re.fullmatch(pattern, name))})

    def first(self, ending: str) -> int:
        """The first dimension of some tensor whose name ends so."""
        return max((self.at(name, 0) for name in self._shapes if name.endswith(ending)), default=0)
