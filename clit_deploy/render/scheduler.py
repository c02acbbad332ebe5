"""The scheduler: image -> encoder tiles -> blocks of the output -> stages -> strips of rows.

It does not depend on a family: shapes come from the manifest, tables from `Tables`, arithmetic
from a `Runtime`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.grid.cascade import StageGrid, stage_grids
from clit_deploy.grid.geometry import Span
from clit_deploy.render.bilinear import bilinear
from clit_deploy.render.encoder import TileEncoder
from clit_deploy.render.finite import check_finite
from clit_deploy.render.layout import Block
from clit_deploy.render.lifetime import Lifetime
from clit_deploy.render.maps import MapMaker
from clit_deploy.render.stage import Stage
from clit_deploy.render.tables import tables_of
from clit_deploy.system.phases import phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from clit_deploy.grid.tiling import Tile
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.render.encoder import Features, FeatureSource
    from clit_deploy.render.feature_tiles import FeatureTiles
    from clit_deploy.render.layout import Job, Layout
    from clit_deploy.runtimes.protocols import Runtime


class Scheduler:
    """A plan's graphs on a runtime, ready to render."""

    def __init__(self, plan: Plan, runtime: Runtime) -> None:
        self.manifest = plan.manifest
        self.runtime = runtime
        self.encoder = TileEncoder(plan, runtime)
        self._plan = plan
        self.tables = tables_of(plan)
        self._makers: dict[int, MapMaker] = {}
        self._stages: dict[int, Stage] = {}
        self._pool = ThreadPoolExecutor(
            runtime.work_limits.workers, thread_name_prefix="clit-decode"
        )
        self.life = Lifetime()

    def close(self) -> bool:
        """Stop the workers and release the graphs, after the work in progress.

        Returns: whether the runtime can be closed as well; see `Lifetime.end`.
        """
        if not self.life.end():
            return False
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._stages.clear()
        self._makers.clear()
        self.encoder.close()
        return True

    def open_stages(self, job: Job) -> None:
        """Load the graphs that the job needs, so that its memory can be predicted."""
        with self.life.work():
            for index in range(job.depth(self.manifest)):
                self._stage(index)

    def maps(self, index: int) -> MapMaker:
        """The maker of a stage's maps, loaded when it is first needed."""
        if index not in self._makers:
            self._makers[index] = MapMaker(index, self._plan, self.runtime, self.tables)
        return self._makers[index]

    def stage_grids(self, job: Job) -> list[StageGrid]:
        """The grids of the stages that run."""
        padded = self.encoder.padded_size(job.size)
        stages = len(self.manifest.stages)
        return stage_grids(job.size, padded, job.output, job.scale, stages, job.regions)

    def strips(
        self,
        image: NDArray[np.generic],
        job: Job,
        layout: Layout,
        progress: Callable[[float], None] | None = None,
        tiles: FeatureTiles | None = None,
        stop: Callable[[], None] | None = None,
        finished: int = 0,
    ) -> Iterator[NDArray[np.float32]]:
        """Render the job's part of the output from top to bottom.

        Args:
            image: `[h, w, 3]` of the job's size, of any type of `images.pixels`.
            job: the sizes, and the cascade.
            layout: how to cut the work.
            progress: called with the part that is done, 0 to 1.
            tiles: features that are kept between jobs; None encodes what this one needs.
            stop: called before each chunk; it raises where the work is not wanted any more.
            finished: rows at the top that are left out, a whole number of strips.

        Yields: `[rows, W, 3]` float32, not clipped, strip after strip; W is the part's width.

        Raises:
            ClosedError: the scheduler was closed in the meantime.
            NonFiniteError: a stage computed NaN or infinite values.
        """
        stages = self.stage_grids(job)
        part = job.part
        first = part.rows.start + finished
        done = finished * len(part.cols)
        sources: Iterable[tuple[FeatureSource, Span]] = (
            [(tiles, part.rows)] if tiles else self._bands(image, job, layout.tile, first)
        )
        for features, outputs in sources:
            for rows in outputs.split(layout.block):
                if rows.stop <= first:
                    continue
                strip = np.empty((len(rows), len(part.cols), 3), np.float32)
                for cols in part.cols.split(layout.block):
                    block = Block(rows, cols)
                    left = part.cols.start
                    strip[:, cols.start - left : cols.stop - left] = self._block(
                        image, job, stages, features, block, stop
                    )
                    done += len(rows) * len(cols)
                    if progress:
                        progress(done / (len(part.rows) * len(part.cols)))
                yield strip
            del features  # or they would stay while the next band is encoded

    def encoded_pixels(self, job: Job, layout: Layout) -> int:
        """Pixels of all tiles that the job's part needs; halos count as often as they are read."""
        height, width = self.encoder.padded_size(job.size)
        axis, wanted = job.axes[0], self._columns(job)
        rows = [
            tile
            for tile in self.encoder.tiles(height, layout.tile, self.manifest.margin)
            if axis.outputs(tile.core).within(job.part.rows)
        ]
        cols = [
            tile
            for tile in self.encoder.tiles(width, layout.tile, margin=0)
            if wanted is None or tile.core.within(wanted)
        ]
        return sum(len(row.seen) * len(col.seen) for row in rows for col in cols)

    def tile_rows(self, job: Job, side: int) -> list[tuple[Tile, Span]]:
        """The rows of tiles that the job's part needs, and the rows of the output on each."""
        height, _ = self.encoder.padded_size(job.size)
        rows = [
            (tile, job.axes[0].outputs(tile.core).within(job.part.rows))
            for tile in self.encoder.tiles(height, side, self.manifest.margin)
        ]
        return [(tile, outputs) for tile, outputs in rows if outputs]  # the others are padding

    def _bands(
        self, image: NDArray[np.generic], job: Job, side: int, first: int
    ) -> Iterator[tuple[Features, Span]]:
        """The features of one row of tiles after the other, and the rows of the output on them,
        from the tiles of the row `first`."""
        wanted = self._columns(job)
        for tile, outputs in self.tile_rows(job, side):
            if outputs.stop <= first:
                continue
            with self.life.work(), phase("encoder"):
                features = self.encoder.encode(image, tile, side, wanted)
            yield features, outputs
            del features

    def _columns(self, job: Job) -> Span | None:
        """The columns of the image whose features the job's part needs; None for all."""
        if job.window is None and job.regions is None:
            return None
        cells = job.axes[1].cells(job.part.cols, "pixel")
        margin = self.manifest.margin
        return Span(int(cells[0]), int(cells[-1]) + 1).grow(margin, margin)

    def _block(
        self,
        image: NDArray[np.generic],
        job: Job,
        stages: list[StageGrid],
        features: FeatureSource,
        block: Block,
        stop: Callable[[], None] | None,
    ) -> NDArray[np.float32]:
        rgb: NDArray[np.float32] | None = None
        for index, stage_grid in enumerate(stages):
            with self.life.work():
                answer = self._stage(index).render(
                    features, stage_grid, job.scale, block, self._pool, stop
                )
            check_finite(answer, index, len(stages))
            if rgb is not None:
                rgb *= np.float32(self.manifest.decay)
                answer += rgb
            rgb = answer
        assert rgb is not None  # noqa: S101  (every cascade has a first stage)
        if self.manifest.bilinear_base:
            with phase("base"):
                rgb += bilinear(image, job.axes, block)
        return rgb

    def _stage(self, index: int) -> Stage:
        if index not in self._stages:
            self._stages[index] = Stage(self.maps(index), self._plan, self.runtime, self.tables)
        return self._stages[index]
