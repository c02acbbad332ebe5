"""The weights that a spec describes, as names and shapes that take no memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from clit_deploy.errors import UnsupportedModelError
from clit_deploy.models.registry import build_model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

CALLS_PER_TENSOR, MORE_CALLS = 32, 2000
"""Calls of torch that building takes for each tensor of a network, and for all of it: several times
what any published network needs."""


class _CallLimit(TorchFunctionMode):
    """Ends a construction after so many calls of torch: args may describe a billion layers."""

    def __init__(self, tensors: int) -> None:
        super().__init__()
        self.tensors = tensors
        self.left = CALLS_PER_TENSOR * tensors + MORE_CALLS

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        self.left -= 1
        if self.left < 0:
            raise UnsupportedModelError(
                f"The model's args describe far more layers than the {self.tensors} tensors of "
                "the file; they do not belong together."
            )
        return func(*args, **(kwargs or {}))


def blueprint(spec: Mapping[str, Any], tensors: int) -> dict[str, Tensor]:
    """The names, shapes and types of the weights that a spec describes, as tensors on `meta`.

    Args:
        spec: see `build_model`.
        tensors: how many tensors the file holds.

    Raises:
        UnsupportedModelError: see `build_model`; or the spec describes many times more layers.
    """
    # Networks are initialized without gradients, and the limit may also refuse the call that would
    # switch gradients on again; the outer `no_grad` is left when the limit no longer holds.
    with torch.no_grad(), _CallLimit(tensors), torch.device("meta"):
        return build_model(spec).state_dict()
