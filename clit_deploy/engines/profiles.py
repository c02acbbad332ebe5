"""Optimization profiles: the ranges of shapes that the scheduler needs from each graph.

The code that cuts the work computes them. An engine accepts every length from min to max, and is
fastest at opt. Lengths that the graph itself fixes are None here.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.grid.cascade import MAX_STAGE_FACTOR, Size, StageGrid, output_size, stage_grids
from clit_deploy.grid.geometry import GroupedOutputs, PointQueries, Span
from clit_deploy.grid.tiling import round_up
from clit_deploy.render.layout import BATCHES, LARGEST_CELL, PATCH, class_shape
from clit_deploy.render.maps import window_of
from clit_deploy.render.tables import tables_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from clit_deploy.plan.manifest import StageInfo
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.render.tables.family_tables import Feeds, Tables
    from clit_deploy.runtimes.protocols import WorkLimits

Shape = tuple["int | None", ...]
Shapes = dict[str, Shape]
"""Shapes of a graph's inputs, by name."""

ROUNDING = 8
"""Output pixels that rounding may add to the largest block at fractional scales."""

USUAL_SCALE = 4.0
USUAL_QUERIES = 1024


@dataclass(frozen=True)
class ShapeRange:
    """The min, opt and max shapes of a graph's inputs."""

    min: Shapes
    opt: Shapes
    max: Shapes


def shape_ranges(plan: Plan, work_limits: WorkLimits) -> dict[str, tuple[ShapeRange, ...]]:
    """The optimization profiles of every graph, by the graph's name in the plan.

    Args:
        plan: its manifest describes the graphs.
        work_limits: with a tile, a block and classes of grid cells.
    """
    if not (work_limits.max_tile and work_limits.max_block and work_limits.cell_classes):
        raise AssertionError("engines need limits of tile, block and cells")
    tables = tables_of(plan)
    encoder = plan.manifest.encoder
    found: dict[str, tuple[ShapeRange, ...]] = {}
    found[encoder.graph] = (_encoder(encoder.multiple, work_limits.max_tile),)
    for index, info in enumerate(plan.manifest.stages):
        some = _axis_tables(plan, tables, info)
        found[info.project] = (_project(plan, tables, index, work_limits.max_block),)
        found[info.decode] = tuple(
            _decode(info, side, work_limits, some) for side in work_limits.cell_classes
        )
        found[info.point] = (_point(plan, tables, info, BATCHES[0]),)
        if info.attention:
            found[info.attention] = (_point(plan, tables, info, 1),)
        if info.pairs:
            pairs = max(_queries(info, side, work_limits) for side in work_limits.cell_classes)
            found[info.pairs] = (_pairs(max(pairs, BATCHES[0])),)
    return found


def _encoder(multiple: int, tile: int) -> ShapeRange:
    smallest: Shapes = {"image": (None, None, multiple, multiple)}
    largest: Shapes = {"image": (None, None, tile, tile)}
    return ShapeRange(smallest, largest, largest)


def _decode(info: StageInfo, side: int, work_limits: WorkLimits, tables: Feeds) -> ShapeRange:
    rows, cols = class_shape(info, side, work_limits)
    opt = max(side - 1, 1)

    def shapes(rows: int, cols: int, slots: int) -> Shapes:
        lengths = {"row": (rows, slots), "col": (cols, slots)}
        fed: Shapes = {
            name: (*lengths[name[:3]], *[None] * (table.ndim - 2)) for name, table in tables.items()
        }
        fed["maps"] = None, rows, cols + info.before + info.after, None
        fed["bias"] = None, rows, cols, slots, slots, None
        return {**fed, "cell": (1, None)}

    return ShapeRange(shapes(1, 1, 1), shapes(rows, cols, opt), shapes(rows, cols, side))


def _queries(info: StageInfo, side: int, work_limits: WorkLimits) -> int:
    rows, cols = class_shape(info, side, work_limits)
    return rows * cols * side * side


def _project(plan: Plan, tables: Tables, index: int, block: int) -> ShapeRange:
    """Patches of blocks at the image's corner and inside it, at every scale of a stage."""
    info, floor = plan.manifest.stages[index], MAX_STAGE_FACTOR**index
    wide = block + ROUNDING
    # A stage's scale begins just above that of the stage before it.
    scales = [floor * factor for factor in (1.0 + 1e-3 * (index > 0), 1.5, 2, 3, MAX_STAGE_FACTOR)]
    side = round_up(2 * wide, plan.manifest.encoder.multiple)
    evenly = [(_grids(plan, (side, side), scale)[index], wide) for scale in scales]
    unevenly = [(_unscaled(plan, side)[index], LARGEST_CELL + ROUNDING)]
    largest = [
        _patch(info, tables, index, stage_grid, Span(start, start + longest))
        for stage_grid, longest in [*evenly, *unevenly]
        for start in (0, stage_grid.over_grid[0].out // 2)
    ]
    opt = _grids(plan, (side, side), floor * USUAL_SCALE)[index]
    middle = opt.over_grid[0].out // 2
    # A patch of a padded image can be as small as one of an image that needs no padding.
    bare = plan.replaced({}, encoder=dataclasses.replace(plan.manifest.encoder, multiple=1))
    small = [
        _patch(info, tables, index, some[index], Span(0, 1))
        for some in (_grids(bare, (1, 1), scales[0]), _unscaled(bare, 1))
    ]
    return ShapeRange(
        _extreme(min, [*small, *largest]),
        _patch(info, tables, index, opt, Span(middle, middle + block)),
        _extreme(max, largest),
    )


def _patch(
    info: StageInfo, tables: Tables, index: int, stage_grid: StageGrid, outputs: Span
) -> Shapes:
    sides = [
        GroupedOutputs.sort(axis, outputs.clip(axis.out), info.anchor).cells
        for axis in stage_grid.over_grid
    ]
    _, inside = window_of(info, stage_grid, *sides)
    work = tables.project(index, stage_grid, inside[0], inside[1])
    shapes: Shapes = {name: table.shape for name, table in work.feeds.items()}
    return {**shapes, "features": (None, None, len(work.rows), len(work.cols))}


def _point(plan: Plan, tables: Tables, info: StageInfo, batch: int) -> ShapeRange:
    points = PointQueries(np.array([0.5]), 1, 1.0, info.anchor)
    axes = {**tables.axis("row", points), **tables.axis("col", points)}
    reach = info.before + info.after

    def shapes(queries: int, side: int, sizes: int) -> Shapes:
        fed: Shapes = {name: (queries, *[None] * (x.ndim - 1)) for name, x in axes.items()}
        fed |= {"maps": (side, side, None), "bias": (queries, None, None)}
        return {**fed, "pixel": (queries, None), "cell": (sizes, None)}

    # A patch has at least one image pixel, which is more than `PATCH` in a deep cascade.
    side = max(PATCH, int(MAX_STAGE_FACTOR) ** (len(plan.manifest.stages) - 1)) + ROUNDING + reach
    opt = shapes(min(USUAL_QUERIES, batch), PATCH + reach, 1)
    return ShapeRange(shapes(1, 1 + reach, 1), opt, shapes(batch, side, batch))


def _pairs(queries: int) -> ShapeRange:
    return ShapeRange({"offset": (1, None)}, {"offset": (256, None)}, {"offset": (queries, None)})


def _axis_tables(plan: Plan, tables: Tables, info: StageInfo) -> Feeds:
    """Tables of one grid cell, for their names and dimensions."""
    stage_grid = _grids(plan, (1, 1), 1.0)[0]
    row, col = (GroupedOutputs.sort(axis, Span(0, 1), info.anchor) for axis in stage_grid.over_grid)
    return {**tables.axis("row", row), **tables.axis("col", col)}


def _grids(plan: Plan, image: Size, scale: float) -> list[StageGrid]:
    multiple = plan.manifest.encoder.multiple
    padded = round_up(image[0], multiple), round_up(image[1], multiple)
    output, _ = output_size(image, scale, None)
    return stage_grids(image, padded, output, scale, len(plan.manifest.stages))


def _unscaled(plan: Plan, side: int) -> list[StageGrid]:
    """The grids of all stages where one axis keeps its length and the other one grows."""
    stages, padded = len(plan.manifest.stages), round_up(side, plan.manifest.encoder.multiple)
    return stage_grids(
        (side, side), (padded, padded), (side, side), MAX_STAGE_FACTOR**stages, stages
    )


def _extreme(pick: Callable[[int, int], int], cases: Iterable[Shapes]) -> Shapes:
    found: Shapes = {}
    for shapes in cases:
        for name, shape in shapes.items():
            known = found.get(name, shape)
            found[name] = tuple(
                None if a is None or b is None else pick(a, b)
                for a, b in zip(known, shape, strict=True)
            )
    return found
