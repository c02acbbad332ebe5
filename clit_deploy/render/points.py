"""Single coordinates: queries sorted into patches of the image, computed by the point graphs.

The scheduler's grouped form is many times faster on a grid; this one accepts any coordinates.
Maps are made for the patch that some queries lie in, never for the whole image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.grid.geometry import PointQueries, Span
from clit_deploy.render.finite import check_finite
from clit_deploy.render.layout import PATCH
from clit_deploy.render.pair_bias import PairBiasTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from clit_deploy.grid.cascade import StageGrid
    from clit_deploy.grid.geometry import Anchor, Axis
    from clit_deploy.grid.tiling import Tile
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.render.encoder import Features, FeatureSource
    from clit_deploy.render.feature_tiles import FeatureTiles
    from clit_deploy.render.layout import Job, PointLayout
    from clit_deploy.render.maps import MapMaker
    from clit_deploy.render.scheduler import Scheduler
    from clit_deploy.render.tables.family_tables import Feeds, Tables
    from clit_deploy.runtimes.protocols import Runner, Runtime


@dataclass(frozen=True)
class Queries:
    """Coordinates as exact positions: `at [q, 2]` counts image pixels from the top left corner."""

    at: NDArray[np.float64]
    cell: NDArray[np.float64]
    """Height and width of the queried pixels in image pixels, `[1 or q, 2]`."""

    def take(self, part: NDArray[np.int64]) -> Queries:
        """Some of the queries."""
        return Queries(self.at[part], self.cell if len(self.cell) == 1 else self.cell[part])

    def on(self, axis: int, rise: Axis, anchor: Anchor) -> PointQueries:
        """Their positions on one axis of a stage's grid."""
        up = rise.out / rise.grid
        step = 2 * up * self.cell[:, axis]
        one = float(step[0]) if len(step) == 1 else step
        return PointQueries(self.at[:, axis] * up, rise.padded_out, one, anchor)


class PointStage:
    """The graphs of one stage for single queries, each loaded when it is first needed."""

    def __init__(self, maps: MapMaker, plan: Plan, runtime: Runtime, tables: Tables) -> None:
        self.info = maps.info
        self._maps, self._tables = maps, tables
        self._plan, self._runtime = plan, runtime
        self._runners: dict[str, Runner] = {}

    def run(
        self,
        graph: str,
        features: FeatureSource,
        stage_grid: StageGrid,
        queries: Queries,
        scale: float,
        batch: int,
    ) -> NDArray[np.float32]:
        """A point graph's results for queries that lie near one another, `batch` at a time."""
        rows, cols = (
            queries.on(axis, stage_grid.over_image[axis], self.info.anchor) for axis in range(2)
        )
        spans = _span(rows.pixels()), _span(cols.pixels())
        maps = self._maps.make(features, stage_grid, *spans)
        # The maps begin `before` pixels ahead of the first cell.
        origin = np.array([span.start - self.info.before for span in spans])
        answers = []
        for start in range(0, len(queries.at), batch):
            part = slice(start, start + batch)
            feeds = self._feeds(rows.take(part), cols.take(part), origin, scale)
            answer = self._runner(graph).run({"maps": maps, **feeds})
            answers.append(self._runtime.arrays.host(answer))
        return np.concatenate(answers)

    def _feeds(
        self, rows: PointQueries, cols: PointQueries, origin: NDArray[np.int64], scale: float
    ) -> Feeds:
        pixel = np.stack([rows.pixels(), cols.pixels()], axis=-1) - origin
        feeds = {
            "pixel": pixel.astype(np.float32),
            "cell": self._tables.cell(rows, cols, scale),
            **self._tables.axis("row", rows),
            **self._tables.axis("col", cols),
        }
        if self.info.pairs:
            pairs = PairBiasTable(self._runner(self.info.pairs), self._runtime.arrays)
            feeds |= pairs.of_points(rows, cols)
        return feeds

    def _runner(self, graph: str) -> Runner:
        if graph not in self._runners:
            self._runners[graph] = self._runtime.runner(self._plan, graph, parallel=True)
        return self._runners[graph]


class PointScheduler:
    """All stages of a plan for single queries, fed from encoder tiles."""

    def __init__(self, plan: Plan, scheduler: Scheduler) -> None:
        self.manifest = plan.manifest
        self.encoder = scheduler.encoder
        self._plan, self._scheduler = plan, scheduler
        self._stages: dict[int, PointStage] = {}
        self._last: tuple[NDArray[np.generic], Tile, Features] | None = None

    def close(self) -> None:
        """Release the graphs, and the features that were kept."""
        self._stages.clear()
        self._last = None

    def residuals(
        self,
        image: NDArray[np.generic],
        job: Job,
        queries: Queries,
        layout: PointLayout,
        progress: Callable[[float], None] | None = None,
        tiles: FeatureTiles | None = None,
    ) -> NDArray[np.float32]:
        """Results without the bilinear base, float32 `[q, 3]`.

        Args:
            image: `[h, w, 3]` of any type of `images.pixels`.
            job: its size, and the output that decides the cascade.
            queries: inside the image.
            layout: side of an encoder tile, and queries at a time.
            progress: called with the part that is done, 0 to 1.
            tiles: features that are kept between calls; None encodes what this one needs.

        Raises:
            ClosedError: the scheduler was closed in the meantime.
            NonFiniteError: a stage computed NaN or infinite values.
        """
        stages = self._scheduler.stage_grids(job)
        result = np.empty((len(queries.at), 3), np.float32)
        done = 0
        for features, some in self._patches(image, queries, len(stages), layout.tile, tiles):
            part = queries.take(some)
            total = np.zeros((len(some), 3), np.float32)
            for index, stage_grid in enumerate(stages):
                with self._scheduler.life.work():
                    stage = self._stage(index)
                    answer = stage.run(
                        stage.info.point, features, stage_grid, part, job.scale, layout.batch
                    )
                check_finite(answer, index, len(stages))
                total = answer + np.float32(self.manifest.decay) * total
            result[some] = total
            done += len(some)
            if progress:
                progress(done / len(result))
        return result

    def attention(
        self,
        image: NDArray[np.generic],
        job: Job,
        query: Queries,
        layout: PointLayout,
        tiles: FeatureTiles | None = None,
    ) -> list[NDArray[np.float32]]:
        """The attention of one query, `[heads, 2r + 1, 2r + 1]` for every stage that runs.

        Arguments and errors are those of `residuals`.
        """
        stages = self._scheduler.stage_grids(job)
        features, _ = next(self._patches(image, query, len(stages), layout.tile, tiles))
        found = []
        for index, stage_grid in enumerate(stages):
            with self._scheduler.life.work():
                stage = self._stage(index)
                graph = stage.info.attention
                assert graph is not None  # noqa: S101  (the caller has checked it)
                flat = stage.run(graph, features, stage_grid, query, job.scale, 1)[0]
            check_finite(flat, index, len(stages))
            side = math.isqrt(flat.shape[1])
            found.append(flat.reshape(-1, side, side).transpose(0, 2, 1))  # graphs: column first
        return found

    def _stage(self, index: int) -> PointStage:
        if index not in self._stages:
            scheduler = self._scheduler
            self._stages[index] = PointStage(
                scheduler.maps(index), self._plan, scheduler.runtime, scheduler.tables
            )
        return self._stages[index]

    def _encode(self, image: NDArray[np.generic], rows: Tile, tile: int) -> Features:
        """One row of tiles; the last one is kept, because the next queries are likely near it."""
        if self._last is None or self._last[0] is not image or self._last[1] != rows:
            self._last = None  # or it would stay while the next one is encoded
            with self._scheduler.life.work():
                self._last = image, rows, self.encoder.encode(image, rows, tile)
        return self._last[2]

    def _patches(
        self,
        image: NDArray[np.generic],
        queries: Queries,
        stages: int,
        side: int,
        tiles: FeatureTiles | None,
    ) -> Iterator[tuple[FeatureSource, NDArray[np.int64]]]:
        """Features and the queries that need them, patch by patch of the image."""
        height, width, _ = image.shape
        inside = np.minimum(queries.at.astype(np.int64), (height - 1, width - 1))
        patch = max(PATCH // 4 ** (stages - 1), 1)
        for features, band in self._bands(image, inside[:, 0], side, tiles):
            place = inside[band] // patch
            key = place[:, 0] * (width // patch + 1) + place[:, 1]
            order = np.argsort(key, kind="stable")
            cuts = np.flatnonzero(np.diff(key[order])) + 1
            for some in np.split(band[order], cuts):
                yield features, some

    def _bands(
        self,
        image: NDArray[np.generic],
        row: NDArray[np.int64],
        side: int,
        tiles: FeatureTiles | None,
    ) -> Iterator[tuple[FeatureSource, NDArray[np.int64]]]:
        """Features of one row of tiles after the other, and the queries in it."""
        if tiles:
            yield tiles, np.arange(len(row))
            return
        padded = self.encoder.padded_size((image.shape[0], image.shape[1]))
        for rows in self.encoder.tiles(padded[0], side, self.manifest.margin):
            band = np.flatnonzero((row >= rows.core.start) & (row < rows.core.stop))
            if len(band):
                yield self._encode(image, rows, side), band


def _span(pixels: NDArray[np.int64]) -> Span:
    return Span(int(pixels.min()), int(pixels.max()) + 1)
