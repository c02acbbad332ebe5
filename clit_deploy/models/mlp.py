"""The decoder's multi-layer perceptron (keys `layers.0`, `layers.2`, ...)."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from clit_deploy.errors import UnsupportedModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU}


class MLP(nn.Module):
    """Linear layers with an activation after each but the last."""

    def __init__(
        self, in_dim: int, out_dim: int, hidden_list: Sequence[int], act: str = "relu"
    ) -> None:
        super().__init__()
        if act not in ACTIVATIONS:
            raise UnsupportedModelError(
                f"Unknown activation {act!r} of the MLP; known: {', '.join(ACTIVATIONS)}."
            )
        if not hidden_list:
            raise UnsupportedModelError("The MLP has no hidden layer; at least one is needed.")
        self.act = act
        widths = [in_dim, *hidden_list]
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(widths):
            layers += [nn.Linear(a, b), ACTIVATIONS[act]()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], out_dim))

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any] | None, in_dim: int) -> MLP:
        """Build from a published `imnet_spec`; the input width is the model's business."""
        if not spec or spec.get("name") != "mlp":
            raise UnsupportedModelError(f"The imnet_spec is {spec!r:.80}; only 'mlp' is known.")
        if spec["args"].get("out_dim") != 3:
            raise UnsupportedModelError(
                f"The MLP answers {spec['args'].get('out_dim')} numbers a query, not RGB."
            )
        return cls(in_dim=in_dim, **spec["args"])

    @property
    def linears(self) -> list[nn.Linear]:
        """The linear layers, first to last."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def forward(self, x: Tensor) -> Tensor:
        """`[..., in_dim]` -> `[..., out_dim]`."""
        result: Tensor = self.layers(x)
        return result
