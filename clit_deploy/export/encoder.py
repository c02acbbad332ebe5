"""The encoder as a graph, traced by torch; height and width stay symbolic."""

from __future__ import annotations

import io
import logging
import warnings
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from clit_deploy.export.builder import OPSET

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx


class _Normalised(nn.Module):
    """An encoder that takes an image in 0..1."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> Tensor:
        features: Tensor = self.encoder((image - 0.5) / 0.5)
        return features


def encoder_graph(encoder: nn.Module) -> onnx.ModelProto:
    """`image [1, 3, height, width]` (0 to 1) -> `features [1, C, height, width]`."""
    height, width = torch.export.Dim("height", min=8), torch.export.Dim("width", min=8)
    with _quiet():
        program = torch.onnx.export(
            _Normalised(encoder).eval(),
            (torch.rand(1, 3, 24, 40),),
            dynamo=True,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["features"],
            dynamic_shapes={"image": {2: height, 3: width}},
            external_data=False,
        )
    assert program is not None  # noqa: S101  (None only without dynamo)
    model: onnx.ModelProto = program.model_proto
    model.graph.name = "encoder"
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter reports its steps on stdout and through warnings; a library keeps quiet."""
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
