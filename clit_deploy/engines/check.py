"""Engines against ONNX Runtime, the only defence against a graph that was compiled wrongly."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clit_deploy.cascade import output_size
from clit_deploy.coordinates import queries_of
from clit_deploy.errors import EngineError
from clit_deploy.images import read_image
from clit_deploy.query import PointScheduler
from clit_deploy.runtimes.ort import open_runtime
from clit_deploy.scheduler import Job, Layout, Scheduler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from clit_deploy.bundle import Plan
    from clit_deploy.runtimes.base import Runtime

log = logging.getLogger(__name__)

PICTURE = Path(__file__).parents[1] / "default" / "grapes.png"
"""A photograph of 128x128 pixels."""

LARGEST_TILE = 192
"""Of the tile that is compared: a reference of more takes a processor minutes."""
SIDE, SCALE = 48, 3.7
"""Of the photograph that every stage renders (a quarter for each stage more), and its scale."""

TOLERANCE = {"fp32": 2e-3, "fp16": 2e-2}
"""Largest difference over the output's deviation. Other orders of sums give 1e-6; a model whose
own rounding is larger has a larger tolerance in its proof."""


def check_engines(plan: Plan, runtime: Runtime) -> float:
    """Render with engines and with ONNX Runtime on the CPU, and compare.

    Every stage runs, with the usual tile and a photograph first, and every graph for single
    queries.

    Returns: the largest difference over the output's deviation.

    Raises:
        EngineError: it is above the tolerance, or not a number.
    """
    proof = plan.manifest.proof
    allowed = max(TOLERANCE[plan.manifest.precision], proof.tolerance if proof else 0)
    worst = 0.0
    appetite = runtime.appetite
    layout = Layout(appetite.tile or LARGEST_TILE, appetite.block or 256)
    ours, theirs = (_answers(plan, r, layout) for r in (runtime, open_runtime("cpu")))
    pairs = zip(ours, theirs, strict=True)
    for (what, got), (_, expected) in pairs:
        error = float(np.abs(got - expected).max()) / (float(expected.std()) or 1.0)
        if not error <= allowed:
            raise EngineError(
                f"{runtime.name} is wrong by {error:.2g} of the output's deviation on {what}; at "
                f"most {allowed:g} is allowed. These engines are not used: build them again, or "
                "use --runtime cpu."
            )
        worst = max(worst, error)
    log.info("engines differ from ONNX Runtime by %.1e of the deviation at most", worst)
    return worst


def _answers(
    plan: Plan, runtime: Runtime, layout: Layout
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """What is compared, with a name for people."""
    scheduler = Scheduler(plan, runtime)
    points = PointScheduler(plan, scheduler)
    photo = read_image(PICTURE).rgb
    try:
        yield "a tile's features", _features(scheduler, photo, min(layout.tile, LARGEST_TILE))
        for stage in range(len(plan.manifest.stages)):
            side, scale = max(SIDE >> 2 * stage, 2), SCALE * 4.0**stage
            image = np.ascontiguousarray(photo[32 : 32 + side, 32 : 32 + side])
            job = Job(image, output_size((side, side), scale, None)[0], scale)
            yield f"a photograph at x{scale:g}", np.concatenate(list(scheduler.strips(job, layout)))
            places = np.random.RandomState(stage).uniform(-1, 1, (64, 2))
            queries = queries_of(places, None, job.size)
            yield f"queries at x{scale:g}", points.residuals(job, queries, layout)
            if plan.manifest.stages[0].attention:
                for found in points.attention(job, queries.take(np.array([0])), layout):
                    yield f"the attention at x{scale:g}", found
    finally:
        scheduler.close()


def _features(scheduler: Scheduler, photo: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Of a whole tile: the photograph, mirrored until it fills it."""
    more = max(side - len(photo), 0)
    image = np.pad(photo, [(0, more), (0, more), (0, 0)], mode="symmetric")[:side, :side]
    (whole,) = scheduler.encoder.tiles(side, side, 0)
    return scheduler.runtime.arrays.host(scheduler.encoder.encode(image, whole, side).array)
