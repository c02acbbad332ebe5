"""The interface of a family's export: graphs, a description, and the arrays of its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from clit_deploy.plan.manifest import StageInfo


class FamilyExport(Protocol):
    """The graph forms of one family. All graphs are float32, opset 18, with one output."""

    def describe(self, stage: int) -> StageInfo:
        """The stage's entry in the manifest."""
        ...

    def project(self, stage: int) -> onnx.ModelProto:
        """`features [1, C, r, c]` and the family's tables -> `maps [rows, cols, channels]`."""
        ...

    def decode(self, stage: int) -> onnx.ModelProto:
        """Maps of a chunk of cells, `cell [1, 2]` and tables -> `rgb [rows, ny, cols, nx, 3]`.

        `maps` is `[window, rows, cols + window - 1, channels]`; rgb is in 0..1, or a residual if
        the family has a bilinear base.
        """
        ...

    def point(self, stage: int) -> onnx.ModelProto:
        """Maps, `pixel [q, 2]`, `cell [1 or q, 2]` and tables of single queries -> `rgb [q, 3]`.

        `pixel` is the row and column of each query's cell in the maps, whole numbers; the tables
        are those of decode, with one dimension of queries instead of cells and slots.
        """
        ...

    def shared(self) -> dict[str, onnx.ModelProto]:
        """Further graphs that stages name in `StageInfo`, by member name."""
        ...

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """The arrays from which the host computes the family's tables."""
        ...
