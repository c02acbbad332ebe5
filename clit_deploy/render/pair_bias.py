"""Position biases of pairs of row and column offsets, if they do not split into the two axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clit_deploy.grid.geometry import AxisQueries, GroupedOutputs
    from clit_deploy.render.tables.family_tables import Feeds
    from clit_deploy.runtimes.protocols import Arrays, Runner


class PairBiasTable:
    """The graph `offset [p, 2]` -> `bias [p, heads, window]` on a runtime.

    A regular grid has few different offsets (four by four at x4). So the graph runs once for each
    different pair, not for each query, which would cost as much as decoding.
    """

    def __init__(self, runner: Runner, arrays: Arrays) -> None:
        self._runner, self._arrays = runner, arrays

    def of_slots(self, rows: GroupedOutputs, cols: GroupedOutputs) -> Feeds:
        """For the queries of a chunk: `[heads, rows, cols, ny, nx, window]`."""
        row, row_at = np.unique(_own(rows), return_inverse=True)
        col, col_at = np.unique(_own(cols), return_inverse=True)
        pairs = np.stack(np.meshgrid(row, col, indexing="ij"), axis=-1)
        table = self._run(pairs.reshape(-1, 2))
        table = table.transpose(1, 0, 2).reshape(table.shape[1], len(row), len(col), -1)
        row_at = row_at.reshape(rows.index.shape)[:, None, :, None]
        return {"bias": table[:, row_at, col_at.reshape(cols.index.shape)[None, :, None, :]]}

    def of_points(self, rows: AxisQueries, cols: AxisQueries) -> Feeds:
        """For single queries: `[q, heads, window]`."""
        return {"bias": self._run(np.stack([_own(rows), _own(cols)], axis=-1))}

    def _run(self, offsets: NDArray[np.float64]) -> NDArray[np.float32]:
        return self._arrays.host(self._runner.run({"offset": offsets.astype(np.float32)}))


def _own(queries: AxisQueries) -> NDArray[np.float64]:
    """The offset of every query from its own cell."""
    return queries.offset(queries.pixels()[..., None])[..., 0]
