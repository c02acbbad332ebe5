"""Position encodings in a plan: arrays for the host's tables, or a graph over pairs of offsets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from clit_deploy.export.graph_builder import Builder, Tensor, ints
from clit_deploy.export.graph_layers import activation, bias, weight
from clit_deploy.export.waves import cosine, sine
from clit_deploy.models.posenc import Learned, PositionEncoding, Sinusoid

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray


def splits(encoding: PositionEncoding | None) -> bool:
    """Whether the bias is a sum of a function of the row offset and one of the column offset."""
    return encoding is None or isinstance(encoding, Sinusoid)


def bias_arrays(encoding: PositionEncoding | None, heads: int) -> dict[str, NDArray[np.float64]]:
    """Arrays from which `AttentionTables` computes the position bias; none if it does not split."""
    if not splits(encoding):
        return {}
    if not isinstance(encoding, Sinusoid):
        nothing = np.zeros((heads, 0))
        return {
            "frequencies": np.zeros(0),
            "bias_row": nothing,
            "bias_col": nothing,
            "bias": np.zeros(heads),
            "damped": np.zeros(()),
        }
    rows_sin, cols_sin, rows_cos, cols_cos = np.split(weight(encoding.proj), 4, axis=1)
    return {
        "frequencies": encoding.frequencies.double().numpy(),
        "bias_row": np.concatenate([rows_sin, rows_cos], axis=1),
        "bias_col": np.concatenate([cols_sin, cols_cos], axis=1),
        "bias": bias(encoding.proj),
        "damped": np.array(float(encoding.damped)),
    }


def phase_arrays(encoding: PositionEncoding) -> dict[str, NDArray[np.float64]]:
    """Arrays from which `LitTables` computes the phases of complex waves."""
    rows, cols = encoding.wave_vectors().double().numpy().T
    damped = isinstance(encoding, Sinusoid) and encoding.damped
    return {"phase_row": rows, "phase_col": cols, "phase_damped": np.array(float(damped))}


def pair_graph(encoding: PositionEncoding, r: int) -> onnx.ModelProto:
    """`offset [p, 2]` from the nearest pixel -> `bias [p, heads, window]`, column first."""
    b = Builder("pairs")
    offset = b.input("offset", ["pairs", 2])
    side = 2.0 * np.arange(-r, r + 1)
    cols, rows = np.meshgrid(side, side, indexing="ij")
    x = b("Sub", b.unsqueeze(offset, 1), np.stack([rows, cols], axis=-1).reshape(1, -1, 2))
    if isinstance(encoding, Learned):
        with b.scope("waves"):
            turns = b("MatMul", x, weight(encoding.Wr).T / (2 * np.pi))
            x = b("Concat", sine(b, turns), cosine(b, turns), axis=-1)
            x = b("Mul", x, encoding.scale)
    modules = [*encoding.mlp, *encoding.proj]  # type: ignore[misc]
    for k, module in enumerate(modules):
        with b.scope(f"layer{k}"):
            x = _layer(b, x, module)
    heads = modules[-1].out_features
    b.output("bias", b.transpose(x, 0, 2, 1), ["pairs", heads, len(side) ** 2])
    return b.model()


def _layer(b: Builder, x: Tensor, module: nn.Module) -> Tensor:
    if isinstance(module, nn.Linear):
        return b("Add", b("MatMul", x, weight(module).T), bias(module))
    if isinstance(module, nn.LayerNorm):
        # Written out: opset 18 has LayerNormalization, but not every TensorRT that reads it does.
        centred = b("Sub", x, b("ReduceMean", x, ints(-1)))
        spread = b("ReduceMean", b("Mul", centred, centred), ints(-1))
        x = b("Div", centred, b("Sqrt", b("Add", spread, module.eps)))
        return b("Add", b("Mul", x, weight(module)), bias(module))
    return activation(b, x, "gelu" if isinstance(module, nn.GELU) else "relu")
