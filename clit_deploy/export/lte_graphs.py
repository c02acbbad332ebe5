"""Graphs of LTE: amplitudes and frequencies on the grid, waves split into rows and columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.export.ensemble_graphs import EnsembleExport
from clit_deploy.export.graph_builder import Builder, Tensor
from clit_deploy.export.graph_layers import bias, channels_last, convolution, tail, weight
from clit_deploy.export.waves import cosine, sine

if TYPE_CHECKING:
    import onnx

    from clit_deploy.models.lte import LTE


class LteExport(EnsembleExport):
    """See `FamilyExport`. Maps contain cosine and sine amplitudes, then row and column frequencies,
    in turns."""

    def __init__(self, model: LTE) -> None:
        self.model = model
        self.waves = model.coef.out_channels // 2
        self.hidden = model.imnet.linears[0].out_features
        self.channels = 4 * self.waves

    def project(self, stage: int) -> onnx.ModelProto:
        """Encoder features -> amplitudes and frequencies, `[rows, cols, 4 waves]`."""
        model = self.model
        b = Builder(f"stage{stage}.project")
        features = b.input("features", [1, model.encoder.out_dim, "in_rows", "in_cols"])
        # The published code pairs adjacent channels (row, column) and computes cos(pi f): here
        # frequencies count turns, half a turn for each of its units.
        order = np.r_[0 : 2 * self.waves : 2, 1 : 2 * self.waves : 2]
        kernel = np.concatenate([weight(model.coef), weight(model.freq)[order] / 2])
        constant = np.concatenate([bias(model.coef), bias(model.freq)[order] / 2])
        with b.scope("amplitudes"):
            maps = channels_last(b, convolution(b, features, kernel, constant))
        b.output("maps", maps, ["rows", "cols", self.channels])
        return b.model()

    def answer(
        self, b: Builder, near: Tensor, down: Tensor, across: Tensor, cell: Tensor | None
    ) -> Tensor:
        """Waves of a sum of two angles from the waves of each: sines are evaluated for the rows and
        for the columns of a cell, not for each of its queries."""
        w = self.waves
        with b.scope("waves"):
            cos_part, sin_part, row_freq, col_freq = b.many(
                "Split", 4, near, axis=-1, num_outputs=4
            )
            phase = b("MatMul", cell, weight(self.model.phase).T / 2)
            row_angle = b("Add", b("Mul", row_freq, down), phase)
            col_angle = b("Mul", col_freq, across)
            row_cos, row_sin = cosine(b, row_angle), sine(b, row_angle)
            col_cos, col_sin = cosine(b, col_angle), sine(b, col_angle)
            even = b(
                "Sub",
                b("Mul", b("Mul", cos_part, row_cos), col_cos),
                b("Mul", b("Mul", cos_part, row_sin), col_sin),
            )
            odd = b(
                "Add",
                b("Mul", b("Mul", sin_part, row_sin), col_cos),
                b("Mul", b("Mul", sin_part, row_cos), col_sin),
            )
            x = b.reshape(b("Concat", even, odd, axis=-1), -1, 2 * w)
        with b.scope("layer0"):
            first = self.model.imnet.linears[0]
            x = b("Add", b("MatMul", x, weight(first).T), bias(first))
        return tail(b, x, self.model.imnet)
