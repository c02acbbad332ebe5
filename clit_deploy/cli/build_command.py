"""`clit-deploy build`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clit_deploy.cli.engine_commands import ChunkOption, TileOption
from clit_deploy.cli.options import (
    ChangedPlanOption,
    EngineOption,
    ForceOption,
    PlanArgument,
    chosen_plan,
    own_plan,
)
from clit_deploy.cli.terminal import StepCounter, terminal
from clit_deploy.cli.typed_values import parse_capability
from clit_deploy.config import parse_bytes
from clit_deploy.errors import RuntimeUnavailableError
from clit_deploy.runtimes.trt.tensorrt_api import Flavour

if TYPE_CHECKING:
    from clit_deploy.engines.build import EngineLimits
    from clit_deploy.runtimes.trt.engine_builder import BuildOptions

CapabilityOption = Annotated[
    list[str] | None,
    typer.Option(
        "--compute-capability",
        metavar="VERSION",
        help="Compute capability of a GPU to build for, like 8.6. Repeat it for several "
        "(TensorRT-RTX).",
        show_default="this GPU's",
    ),
]
WorkspaceOption = Annotated[
    str | None,
    typer.Option(
        "--workspace", metavar="BYTES", help="Device memory that the builder may use, like 1GB."
    ),
]


def build(
    plan: PlanArgument = None,
    engine: EngineOption = None,
    runtime: Annotated[
        Flavour, typer.Option("--runtime", help="The library that the engines are for.")
    ] = Flavour.TENSORRT,
    compute_capability: CapabilityOption = None,
    workspace: WorkspaceOption = None,
    timing_cache: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="TensorRT's timing cache; it is read and extended.",
            show_default="in the cache folder",
        ),
    ] = None,
    tile: TileOption = None,
    chunk: ChunkOption = None,
    output: ChangedPlanOption = None,
    force: ForceOption = False,
) -> None:
    """Build TensorRT engines for this device, or for others, and store them in the plan."""
    from clit_deploy.engines.build import engine_limits
    from clit_deploy.runtimes.trt.engine_builder import BuildOptions

    path = own_plan(chosen_plan(plan, engine), output, force=force)
    capabilities = tuple(parse_capability(text) for text in compute_capability or ())
    options = BuildOptions(capabilities, parse_bytes(workspace) if workspace else None)
    limits = engine_limits(tile, chunk)
    build_and_report(path, runtime, options, limits, output, timing_cache)


def build_and_report(
    plan: Path,
    flavour: Flavour,
    options: BuildOptions,
    limits: EngineLimits,
    output: Path | None = None,
    timing_cache: Path | None = None,
) -> None:
    """Build, and print the result."""
    from clit_deploy.cli.report import engine_line
    from clit_deploy.cli.verdicts import built
    from clit_deploy.engines.build import work_limits_of
    from clit_deploy.engines.profiles import shape_ranges
    from clit_deploy.engines.store import build_into
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.runtimes.cuda.cuda_api import open_cuda
    from clit_deploy.runtimes.trt.tensorrt_api import load_tensorrt

    opened = Plan.open(plan)
    try:
        cuda = open_cuda()
    except RuntimeUnavailableError as error:
        if flavour is not Flavour.RTX:
            raise
        load_tensorrt(flavour)
        terminal.note(f"no device to check the engines on: {error}")
        cuda = None
    trt = load_tensorrt(flavour)
    graphs = len(shape_ranges(opened, work_limits_of(opened, limits)))
    graphs += len(opened.manifest.float_forms) if cuda else 0
    made = build_into(
        opened,
        trt,
        options,
        limits,
        cuda,
        target=output,
        timing_cache=timing_cache,
        progress=StepCounter(graphs),
    )
    path, engines = output or plan, made.manifest.engines[-1]
    typer.echo(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    typer.echo(engine_line(engines))
    typer.echo(built(path, engines))
