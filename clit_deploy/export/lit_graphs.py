"""Graphs of LIT: its attention is that of CLIT, its spectrum one small matrix per channel.

The phase of a wave at a window position is the sum of a part of the query and a part of the
position, because phases are linear in the offset. So the Fourier transform, the position's part and
the first layer's weights fold into one constant, and a query needs only a few cosines and sines of
the spectrum of a grid pixel:

    sum_j Re(conj(W_j) e^(i (a - b_j)) F_j) = cos(a) Re(H) - sin(a) Im(H),
    H = sum_j conj(W_j) e^(-i b_j) F_j.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.export.attention_family import FirstLayer
from clit_deploy.export.attention_graphs import AttentionExport
from clit_deploy.export.graph_builder import Builder, Tensor, ints
from clit_deploy.export.graph_layers import bias, channels_last, convolution, weight, windows
from clit_deploy.export.posenc_graphs import phase_arrays

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from clit_deploy.models.lit import LIT
    from clit_deploy.models.mlp import MLP
    from clit_deploy.plan.manifest import StageInfo


class LitExport(AttentionExport):
    """See `FamilyExport`. Maps contain queries, keys, values and frequency features."""

    model: LIT

    def __init__(self, model: LIT) -> None:
        super().__init__(model, 3 * model.dim + model.waves)
        self.hidden = model.imnet.linears[0].out_features
        self.waves = model.waves

    def describe(self, stage: int) -> StageInfo:
        """Adds the memory of a cell's (or query's) spectrum and its transposed copy."""
        info = super().describe(stage)
        spectrum = 2 * 4 * 2 * (2 * self.waves * self.hidden)
        return dataclasses.replace(
            info,
            cell_bytes=info.cell_bytes + spectrum,
            query_bytes=info.query_bytes + 2 * 4 * 6 * self.waves,
            point_bytes=info.point_bytes + spectrum,
        )

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """The weights of the position bias and of the phases."""
        return {**super().arrays(), **phase_arrays(self.model.pe_encoder)}

    def mlp_of(self, stage: int) -> MLP:  # noqa: ARG002
        """The only MLP."""
        return self.model.imnet

    def first_layer(self, stage: int) -> FirstLayer:  # noqa: ARG002
        """Weights are ordered by window position, values before spectrum; the cell is last."""
        linear = self.model.imnet.linears[0]
        w, dim = weight(linear), self.model.dim
        width = dim + 2 * self.waves
        by_position = w[:, : width * self.k**2].reshape(self.hidden, self.k, self.k, width)
        cell = w[:, width * self.k**2 :] if self.model.is_cell else None
        return FirstLayer(by_position[..., :dim], cell, bias(linear))

    def project(self, stage: int) -> onnx.ModelProto:
        """Encoder features -> queries (already scaled), keys, values and frequency features."""
        model, scale = self.model, 1 / math.sqrt(self.depth)
        b = Builder(f"stage{stage}.project")
        features = b.input("features", [1, model.encoder.out_dim, "in_rows", "in_cols"])
        layers = (model.conv_q, model.conv_k, model.conv_v, model.conv_freq)
        factors = (scale, 1, 1, 1)
        kernel = np.concatenate([weight(c) * f for c, f in zip(layers, factors, strict=True)])
        constant = np.concatenate([bias(c) * f for c, f in zip(layers, factors, strict=True)])
        with b.scope("qkvf"):
            maps = channels_last(b, convolution(b, features, kernel, constant))
        b.output("maps", maps, ["rows", "cols", self.channels])
        return b.model()

    def decode_term(self, b: Builder, maps: Tensor, cols: Tensor) -> Tensor:
        """The waves of the queries times the spectra of their cells."""
        with b.scope("spectrum"):
            strip = b.slice(maps, 3 * self.model.dim, self.channels, 3)
            strip = b.transpose(strip, 3, 1, 2, 0)
            window = windows(b, strip, range(self.k), cols, axis=2, join=3)
            spectrum = self._spectrum(b, b.reshape(window, self.waves, -1, self.k**2))
        row = b.input("row_waves", ["rows", "ny", 2, self.waves])
        col = b.input("col_waves", ["cols", "nx", 2, self.waves])
        with b.scope("waves"):
            n = b("Mul", b.shape(row, 1), b.shape(col, 1))
            waves = self._waves(b, b.unsqueeze(row, 1, 3), b.unsqueeze(col, 0, 2))
            waves = b.reshape(waves, b("Mul", b.shape(row, 0), cols), n, 2 * self.waves)
        return b("MatMul", waves, spectrum)

    def point_term(self, b: Builder, window: Tensor) -> Tensor:
        """The same for windows that were gathered one by one."""
        with b.scope("spectrum"):
            some = b.slice(window, 3 * self.model.dim, self.channels, 2)
            spectrum = self._spectrum(b, b.transpose(some, 2, 0, 1))
        row = b.input("row_waves", ["queries", 2, self.waves])
        col = b.input("col_waves", ["queries", 2, self.waves])
        with b.scope("waves"):
            waves = b.unsqueeze(self._waves(b, row, col), 1)
        return b("Squeeze", b("MatMul", waves, spectrum), ints(1))

    def _waves(self, b: Builder, row: Tensor, col: Tensor) -> Tensor:
        """Cosine and sine of a sum of two angles, from those of each: `[..., 2 * waves]`."""
        parts = [b.many("Split", 2, table, axis=-2, num_outputs=2) for table in (row, col)]
        (row_cos, row_sin), (col_cos, col_sin) = parts
        cos = b("Sub", b("Mul", row_cos, col_cos), b("Mul", row_sin, col_sin))
        sin = b("Add", b("Mul", row_sin, col_cos), b("Mul", row_cos, col_sin))
        return b("Squeeze", b("Concat", cos, sin, axis=-1), ints(-2))

    def _spectrum(self, b: Builder, window: Tensor) -> Tensor:
        """`[waves, cells, k * k]` -> weights of cosines and sines `[cells, 2 * waves, hidden]`."""
        both = b("MatMul", window, self._constants())
        both = b.reshape(both, self.waves, -1, 2, self.hidden)
        return b.reshape(b.transpose(both, 1, 2, 0, 3), 0, 2 * self.waves, self.hidden)

    def _constants(self) -> NDArray[np.float64]:
        """Transform, positions' phases and weights, `[waves, k * k, 2 * hidden]`: Re H, -Im H."""
        k, dim, waves = self.k, self.model.dim, self.waves
        width = dim + 2 * waves
        w = weight(self.model.imnet.linears[0])[:, : width * k * k]
        w = w.reshape(self.hidden, k, k, width)[..., dim:].reshape(self.hidden, k, k, waves, 2)
        conjugate = w[..., 0] - 1j * w[..., 1]
        rows, cols = self.model.pe_encoder.wave_vectors().double().numpy().T
        step = 2.0 * np.arange(-self.model.r, self.model.r + 1)
        turned = conjugate * np.exp(-1j * (step[:, None, None] * rows + step[None, :, None] * cols))
        turned = turned * self._amplitude()
        fourier = np.exp(-2j * np.pi * np.outer(np.arange(k), np.arange(k)) / k) / math.sqrt(k)
        # p, q: coefficient; y, x: window position, column first as everywhere in decode
        folded = np.einsum("hpqc,py,qx->cxyh", turned, fourier, fourier, optimize=True)
        folded = folded.reshape(waves, k * k, self.hidden)
        return np.concatenate([folded.real, -folded.imag], axis=-1)

    def _amplitude(self) -> float:
        """The constant factor of learned waves; the host applies damping, which varies."""
        return float(getattr(self.model.pe_encoder, "scale", 1.0))
