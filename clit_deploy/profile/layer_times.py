"""Times of single layers, from a pass of their own: timing layers slows what it times."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from clit_deploy.errors import error_message
from clit_deploy.profile.bench import opened
from clit_deploy.runtimes.protocols import LayerProfiler

if TYPE_CHECKING:
    from clit_deploy.profile.bench import ProfileContext
    from clit_deploy.profile.sweep import Case
    from clit_deploy.render.layout import Layout
    from clit_deploy.runtimes.protocols import LayerTime, Runtime

PASSES = 2
NONE = "the runtime offers no times of layers"


def time_layers(
    bench: ProfileContext, case: Case, layout: Layout
) -> tuple[tuple[LayerTime, ...] | None, str]:
    """The layers of a case, or None and why there are none.

    The picture's first strip is rendered twice, cut as the row was: every graph sees the shapes
    that it had in the row, and it takes no more memory than the row did.
    """
    try:
        return _timed(bench, case, layout)
    except Exception as error:  # what is measured already is not lost by it
        return None, f"the pass that times them failed: {error_message(error)}"


def _timed(
    bench: ProfileContext, case: Case, layout: Layout
) -> tuple[tuple[LayerTime, ...] | None, str]:
    profilers: list[LayerProfiler] = []

    def start(runtime: Runtime) -> Runtime:
        if isinstance(runtime, LayerProfiler):
            runtime.start_layers()
            profilers.append(runtime)
        return runtime

    with opened(case, bench.max_memory, start) as up:
        if not profilers:
            return None, NONE
        job = up.renderer.job(bench.reference.picture, scale=case.scale)
        rendering = up.renderer.prepare(job, layout=layout)
        for _ in range(PASSES):
            for _ in islice(rendering.strips(), 1):
                pass
        return tuple(profilers[0].layers()), ""
