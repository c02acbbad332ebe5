"""Graphs of LIIF: the feature part of its first layer is one convolution, hoisted to the grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.export.ensemble_graphs import EnsembleExport
from clit_deploy.export.graph_builder import Builder, Tensor
from clit_deploy.export.graph_layers import bias, channels_last, convolution, tail, weight

if TYPE_CHECKING:
    import onnx

    from clit_deploy.models.liif import LIIF

SHIFT = 0.5
"""The network predicts -1..1, and there is no bilinear base that would add the middle of 0..1."""


class LiifExport(EnsembleExport):
    """See `FamilyExport`. Maps contain the first layer's sum over the features; offsets and cell
    are added in decode."""

    def __init__(self, model: LIIF) -> None:
        self.model = model
        self.neighbors = 2 if model.local_ensemble else 1
        self.has_cell = model.cell_decode
        first = model.imnet.linears[0]
        self.hidden = self.channels = first.out_features
        features = first.in_features - 2 - (2 if model.cell_decode else 0)
        self.w_features, offset, cell = np.split(weight(first), [features, features + 2], axis=1)
        self.w_row, self.w_col = offset.T
        self.w_cell = cell.T
        self.constant = bias(first)

    def project(self, stage: int) -> onnx.ModelProto:
        """Encoder features -> the first layer's sum over them, `[rows, cols, hidden]`."""
        b = Builder(f"stage{stage}.project")
        channels = self.model.encoder.out_dim
        features = b.input("features", [1, channels, "in_rows", "in_cols"])
        side = 3 if self.model.feat_unfold else 1
        with b.scope("layer0"):
            kernel = self.w_features.reshape(self.hidden, channels, side, side)
            maps = channels_last(b, convolution(b, features, kernel, self.constant))
        b.output("maps", maps, ["rows", "cols", self.hidden])
        return b.model()

    def answer(
        self, b: Builder, near: Tensor, down: Tensor, across: Tensor, cell: Tensor | None
    ) -> Tensor:
        """The rest of the first layer, then the other layers."""
        with b.scope("layer0"):
            x = b("Add", near, b("Mul", down, self.w_row))
            shift = b("Mul", across, self.w_col)
            if cell is not None:
                shift = b("Add", shift, b("MatMul", cell, self.w_cell))
            x = b.reshape(b("Add", x, shift), -1, self.hidden)
        return tail(b, x, self.model.imnet, SHIFT)
