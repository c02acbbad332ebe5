"""Compares engines with ONNX Runtime, which detects graphs that were compiled wrongly."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.engines.forms import as_built
from clit_deploy.errors import EngineError
from clit_deploy.grid.cascade import output_size
from clit_deploy.images.image_files import PHOTOGRAPH, read_image
from clit_deploy.images.pixels import to_unit
from clit_deploy.render.coordinates import queries_of
from clit_deploy.render.layout import BATCHES, Job, PointLayout, layouts
from clit_deploy.render.points import PointScheduler
from clit_deploy.render.scheduler import Scheduler
from clit_deploy.runtimes.ort.ort_runtime import open_runtime
from clit_deploy.runtimes.trt.engine_runtime import EngineRuntime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.render.layout import Layout
    from clit_deploy.runtimes.protocols import Runtime

log = logging.getLogger(__name__)

LARGEST_TILE = 192
"""Side of the compared tile, in pixels; a larger reference takes minutes on a CPU."""
SIDE, SCALE = 48, 3.7
"""Side of the photograph that the first stage renders, in pixels, and its scale. Each later stage
renders a quarter of the side."""
WIDE = (13.3, 50.0)
"""Factors of the last stage, along one axis, that use the larger classes of grid cells."""

TOLERANCE = {"fp32": 2e-3}
ROUNDED = 2e-2
"""Largest error relative to the output's standard deviation, for FP32 plans and for others. Sums in
another order give 1e-6. A model with larger rounding errors has its own tolerance in the plan."""


def check_engines(plan: Plan, runtime: Runtime) -> float:
    """Render with engines and with ONNX Runtime on the CPU, and compare.

    A tile is encoded. A photograph is rendered by every stage, and by the last stage also with
    large factors, which have many queries in a grid cell. All graphs for single queries run.

    Returns: the largest error, relative to the output's standard deviation.

    Raises:
        EngineError: the error is above the tolerance, or NaN.
    """
    repair, graphs = "Use --runtime cpu.", plan
    if isinstance(runtime, EngineRuntime):
        runtime.kernels.eager = True
        repair, graphs = runtime.repair(), as_built(plan, runtime.engines)
    allowed = allowed_error(plan)
    worst = 0.0
    side = min(runtime.work_limits.max_tile or LARGEST_TILE, LARGEST_TILE)
    ours, theirs = _answers(plan, runtime, side), _answers(graphs, open_runtime("cpu"), side)
    for (what, got), (_, expected) in zip(ours, theirs, strict=True):
        error = float(np.abs(got - expected).max()) / (float(expected.std()) or 1.0)
        if not error <= allowed:
            raise EngineError(
                f"{runtime.name} has an error of {error:.2g} on {what}, relative to the output's "
                f"standard deviation; the tolerance is {allowed:g}. These engines are not used. "
                f"{repair}"
            )
        worst = max(worst, error)
    log.info(
        "largest error of the engines: %.1e relative to the output's standard deviation", worst
    )
    return worst


def allowed_error(plan: Plan) -> float:
    """The tolerance between a device and the CPU, relative to the output's standard deviation."""
    proof = plan.manifest.proof
    return max(TOLERANCE.get(plan.manifest.precision, ROUNDED), proof.tolerance if proof else 0)


def _answers(plan: Plan, runtime: Runtime, tile: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The outputs that are compared, each with a name for messages."""
    scheduler = Scheduler(plan, runtime)
    photo = to_unit(read_image(PHOTOGRAPH).rgb)
    stages = len(plan.manifest.stages)
    try:
        yield "a tile's features", _features(scheduler, photo, tile)
        for stage in range(stages):
            side, scale = max(SIDE >> 2 * stage, 2), SCALE * 4.0**stage
            image = photo[32 : 32 + side, 32 : 32 + side]
            job = Job((side, side), *output_size((side, side), scale, None))
            layout = layouts(plan.manifest, runtime.work_limits, job)[0]
            yield f"a photograph at x{scale:g}", _rendered(scheduler, image, job, layout)
            yield from _single(plan, scheduler, image, job, layout, stage)
        finest = 4 ** (stages - 1)
        for factor in WIDE:
            size = 2 * finest, round(2 * finest * factor)
            image, job = photo[32:34, 32:34], Job((2, 2), size, finest * factor)
            layout = layouts(plan.manifest, runtime.work_limits, job)[0]
            yield f"a photograph at {size[1]}x{size[0]}", _rendered(scheduler, image, job, layout)
    finally:
        scheduler.close()


def _rendered(
    scheduler: Scheduler, image: NDArray[np.float32], job: Job, layout: Layout
) -> NDArray[np.float32]:
    return np.concatenate(list(scheduler.strips(image, job, layout)))


def _single(
    plan: Plan,
    scheduler: Scheduler,
    image: NDArray[np.float32],
    job: Job,
    layout: Layout,
    seed: int,
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The outputs of the graphs for single queries."""
    points, cut = PointScheduler(plan, scheduler), PointLayout(layout.tile, BATCHES[0])
    coords = np.random.RandomState(seed).uniform(-1, 1, (64, 2))
    queries = queries_of(coords, None, job.size)
    yield f"queries at x{job.scale:g}", points.residuals(image, job, queries, cut)
    if plan.manifest.stages[0].attention:
        for found in points.attention(image, job, queries.take(np.array([0])), cut):
            yield f"the attention at x{job.scale:g}", found


def _features(scheduler: Scheduler, photo: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Features of a whole tile, which the mirrored photograph fills."""
    more = max(side - len(photo), 0)
    image = np.pad(photo, [(0, more), (0, more), (0, 0)], mode="symmetric")[:side, :side]
    (whole,) = scheduler.encoder.tiles(side, side, 0)
    return scheduler.runtime.arrays.host(scheduler.encoder.encode(image, whole, side).array)
