"""What the graphs of CLIT and LIT share, and where the two families differ."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from clit_deploy.export.graph_builder import Builder, Tensor
    from clit_deploy.export.graph_layers import Weights
    from clit_deploy.models.attention import AttentionModel
    from clit_deploy.models.mlp import MLP


@dataclass(frozen=True)
class FirstLayer:
    """The weights of a stage's first linear layer, split by input."""

    values: Weights
    """For the values in the window, `[hidden, rows, columns, dim]`."""
    cell: Weights | None
    """For the cell, `[hidden, 2]`; None if the model does not use it."""
    constant: Weights
    """Its bias, `[hidden]`."""


class AttentionFamily(ABC):
    """Attention over windows. Maps begin with queries (scaled), keys and values."""

    model: AttentionModel
    k: int
    """Side of the window."""
    channels: int
    """Channels of the maps."""

    def __init__(self, model: AttentionModel, channels: int) -> None:
        self.model = model
        self.k = 2 * model.r + 1
        self.channels = channels
        self.depth = model.dim // model.head

    @abstractmethod
    def mlp_of(self, stage: int) -> MLP:
        """The MLP of a stage."""

    @abstractmethod
    def first_layer(self, stage: int) -> FirstLayer:
        """The first layer of that MLP."""

    @abstractmethod
    def project(self, stage: int) -> onnx.ModelProto:
        """See `FamilyExport.project`."""

    def decode_term(self, b: Builder, maps: Tensor, cols: Tensor) -> Tensor | None:  # noqa: ARG002
        """What the first layer adds to the values' part, `[cells, n, hidden]`, for a chunk."""
        return None

    def point_term(self, b: Builder, window: Tensor) -> Tensor | None:  # noqa: ARG002
        """The same for single queries, `[q, hidden]`, from their `window [q, k * k, channels]`."""
        return None

    def closed(self, b: Builder, first: FirstLayer, z: Tensor, sizes: int | str) -> Tensor:
        """Add the cell's part (for `sizes` cells) and the bias to the first layer's sum `z`."""
        constant: Tensor | NDArray[np.float64] = first.constant
        if first.cell is not None:
            cell = b.input("cell", [sizes, 2])
            constant = b("Add", b("MatMul", cell, first.cell.T), constant)
        return b("Add", z, constant)
