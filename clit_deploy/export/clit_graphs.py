"""Graphs of CLIT: maps of its stages, resampled where the published code resamples features."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.export.attention_family import FirstLayer
from clit_deploy.export.attention_graphs import AttentionExport
from clit_deploy.export.graph_builder import Builder, Tensor, ints
from clit_deploy.export.graph_layers import bias, channels_last, convolution, weight
from clit_deploy.export.live_units import live_units

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from clit_deploy.models.clit import CLIT
    from clit_deploy.models.mlp import MLP


class ClitExport(AttentionExport):
    """See `FamilyExport`. Maps contain queries, keys and values, `3 * dim` channels."""

    model: CLIT

    def __init__(self, model: CLIT) -> None:
        super().__init__(model, 3 * model.dim)
        self._mlps = [live_units(model.mlp(stage)) for stage in range(model.stages)]

    def mlp_of(self, stage: int) -> MLP:
        """The MLP of a stage, without units that nothing reads."""
        return self._mlps[stage]

    def first_layer(self, stage: int) -> FirstLayer:
        """The weights for the window's values, position by position, then those for the cell."""
        linear = self.mlp_of(stage).linears[0]
        w, split = weight(linear), self.model.dim * self.k**2
        values = w[:, :split].reshape(-1, self.k, self.k, self.model.dim)
        return FirstLayer(values, w[:, split:] if self.model.is_cell else None, bias(linear))

    def project(self, stage: int) -> onnx.ModelProto:
        """Encoder features -> queries (already scaled), keys and values of the stage's grid."""
        model = self.model
        b = Builder(f"stage{stage}.project")
        features = b.input("features", [1, model.encoder.out_dim, "in_rows", "in_cols"])
        with b.scope("widen"):
            wide = convolution(b, features, weight(model.conv_ch), bias(model.conv_ch))
        maps = self._convolved(b, wide, stage) if stage == 0 else self._resampled(b, wide, stage)
        b.output("maps", maps, ["rows", "cols", 3 * model.dim])
        return b.model()

    def _convolved(self, b: Builder, wide: Tensor, stage: int) -> Tensor:
        """On the image's own grid. The widened features are zero outside the image."""
        with b.scope("inside"):
            rows = b.unsqueeze(b.input("row_inside", ["wide_rows"]), 1)
            wide = b("Mul", wide, b("Mul", rows, b.input("col_inside", ["wide_cols"])))
        with b.scope("qkv"):
            kernel, constant = self._qkv(stage)
            return channels_last(b, convolution(b, wide, kernel, constant))

    def _resampled(self, b: Builder, wide: Tensor, stage: int) -> Tensor:
        """On a finer grid: a 3x3 convolution of a resampled map is the sum of nine resamplings
        of 1x1 convolutions at low resolution; one matrix per axis does all nine."""
        dim = self.model.dim
        kernel, constant = self._qkv(stage)
        coarse = channels_last(b, wide)
        height, width = b.shape(coarse, 0), b.shape(coarse, 1)
        rows = b.input("row_taps", ["rows", "row_reach"])
        cols = b.input("col_taps", ["cols", "col_reach"])
        with b.scope("taps"):
            flat = b.reshape(coarse, -1, dim)
            taps = []
            for dy in range(3):
                mixing = kernel[:, :, dy].transpose(1, 2, 0).reshape(dim, 9 * dim)
                taps.append(b.reshape(b("MatMul", flat, mixing), height, -1))
        with b.scope("resample"):
            maps = b("MatMul", rows, b("Concat", *taps, axis=0))
            maps = b.reshape(maps, b.shape(rows, 0), b("Mul", width, ints(3)), 3 * dim)
            return b("Add", b("MatMul", cols, maps), constant)

    def _qkv(self, stage: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        model, scale = self.model, 1 / math.sqrt(self.depth)
        q, k, v = model.qkv(stage)
        return (
            np.concatenate([weight(q) * scale, weight(k), weight(v)]),
            np.concatenate([bias(q) * scale, bias(k), bias(v)]),
        )
