"""The encoder as a graph, traced by torch; height and width stay symbolic."""

from __future__ import annotations

import io
import logging
import warnings
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING

import torch
from onnx_ir.passes.common import CommonSubexpressionEliminationPass
from onnxscript.optimizer import fold_constants
from torch import Tensor, nn

from clit_deploy.passes.versions import OPSET

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

    from clit_deploy.models.implicit_model import Encoder


class _Normalized(nn.Module):
    """An encoder for images in 0..1; the published ones take -1..1."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> Tensor:
        features: Tensor = self.encoder((image - 0.5) / 0.5)
        return features


SIDES = ("height", "width")


def encoder_graph(encoder: Encoder) -> onnx.ModelProto:
    """`image [1, 3, height, width]` (0 to 1) -> `features [1, C, height, width]`.

    Height and width are symbolic, so that one graph serves every tile. What depends on them, such
    as the masks of shifted windows, becomes constant when a runtime fixes them.
    """
    unit = encoder.multiple
    dims = [torch.export.Dim(f"{side}_units", min=2) for side in SIDES]
    height, width = (unit * dim if unit > 1 else dim for dim in dims)
    sample = torch.rand(1, 3, *((3 * unit, 5 * unit) if unit > 1 else (24, 40)))
    with _quiet():
        program = torch.onnx.export(
            _Normalized(encoder).eval(),
            (sample,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["features"],
            dynamic_shapes={"image": {2: height, 3: width}},
            external_data=False,
            optimize=False,
        )
        assert program is not None  # noqa: S101  (None only without dynamo)
        # The exporter's own optimizer tries hundreds of rewrites on every node, which for SwinIR
        # takes as long as tracing; these two passes are what the graphs need.
        fold_constants(program.model)
        CommonSubexpressionEliminationPass()(program.model)
    model: onnx.ModelProto = program.model_proto
    model.graph.name = "encoder"
    for value in (*model.graph.input, *model.graph.output):
        for dim, side in zip(value.type.tensor_type.shape.dim[2:], SIDES, strict=True):
            dim.ClearField("dim_value")
            dim.dim_param = side
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter, which prints to stdout and warns; library code only logs."""
    names = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")
    levels = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
