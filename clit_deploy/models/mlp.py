"""The decoder's multi-layer perceptron (keys `layers.0`, `layers.2`, ...)."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from clit_deploy.errors import UnsupportedModelError
from clit_deploy.models.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clit_deploy.models.weight_shapes import WeightShapes

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU}


class MLP(nn.Module):
    """Linear layers with an activation between them."""

    def __init__(
        self, in_dim: int, out_dim: int, hidden_list: Sequence[int], act: str = "relu"
    ) -> None:
        super().__init__()
        if act not in ACTIVATIONS:
            raise UnsupportedModelError(
                f"Unknown activation {act!r:.80} of the MLP; supported are "
                f"{', '.join(ACTIVATIONS)}."
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
    def from_spec(cls, content: Mapping[str, Any] | None, in_dim: int) -> MLP:
        """Build from a published `imnet_spec`; the model decides the input width.

        Raises:
            UnsupportedModelError: another kind of network, or one that does not predict RGB.
        """
        spec = Spec.read(content, "imnet_spec")
        make = spec.choose({"mlp": cls})
        if spec.args.get("out_dim") != 3:
            raise UnsupportedModelError(
                f"The MLP predicts {spec.args.get('out_dim')!r:.80} numbers per query; RGB needs 3."
            )
        return spec.build(make, in_dim=in_dim)

    @classmethod
    def recognize(cls, shapes: WeightShapes, act: str) -> tuple[dict[str, Any], int] | None:
        """The spec of a network of colors with these weights, and the width of its input.

        Args:
            shapes: of the weights of the network alone.
            act: the activation, which no weight shows.

        Returns: None if there is no such network.
        """
        layers = shapes.count(r"layers\.(\d+)\.weight")
        widths = [shapes.at(f"layers.{2 * layer}.weight", 0) for layer in range(layers)]
        if len(widths) < 2 or widths[-1] != 3 or not all(widths):
            return None
        args = {"out_dim": 3, "hidden_list": widths[:-1], "act": act}
        return {"name": "mlp", "args": args}, shapes.at("layers.0.weight", 1)

    @property
    def linears(self) -> list[nn.Linear]:
        """The linear layers, first to last."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def forward(self, x: Tensor) -> Tensor:
        """`[..., in_dim]` -> `[..., out_dim]`."""
        result: Tensor = self.layers(x)
        return result
