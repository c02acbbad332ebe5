"""`clit-deploy build`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clit_deploy.cli.options import ForceOption, PlanArgument, parse_capability
from clit_deploy.config import parse_bytes
from clit_deploy.errors import RuntimeUnavailableError
from clit_deploy.runtimes.trt.tensorrt_api import Flavour
from clit_deploy.system.files import check_writable

if TYPE_CHECKING:
    from clit_deploy.engines.build import EngineLimits
    from clit_deploy.runtimes.trt.engine_builder import BuildOptions

FlavourOption = Annotated[Flavour, typer.Option("--runtime", help="What the engines are for.")]
CapabilityOption = Annotated[
    list[str] | None,
    typer.Option(
        "--compute-capability",
        help="A GPU to build for, like 8.6; several times for several (TensorRT-RTX).",
    ),
]
WorkspaceOption = Annotated[
    str | None, typer.Option("--workspace", help="Device memory that the builder may use.")
]


def build(
    plan: PlanArgument,
    runtime: FlavourOption = Flavour.TENSORRT,
    compute_capability: CapabilityOption = None,
    workspace: WorkspaceOption = None,
    timing_cache: Annotated[
        Path | None,
        typer.Option(help="TensorRT's timing cache, read and extended.", show_default="the user's"),
    ] = None,
    tile: Annotated[int | None, typer.Option(help="Largest side of an encoder tile.")] = None,
    chunk: Annotated[
        int | None, typer.Option(help="Size of decoder chunks, in those of a processor.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Another plan to write.")
    ] = None,
    force: ForceOption = False,
) -> None:
    """Build TensorRT engines for this device (or others) and put them into the plan."""
    from clit_deploy.engines.build import EngineLimits
    from clit_deploy.runtimes.trt.engine_builder import BuildOptions

    capabilities = tuple(parse_capability(text) for text in compute_capability or ())
    options = BuildOptions(capabilities, parse_bytes(workspace) if workspace else None)
    limits = EngineLimits(tile) if chunk is None else EngineLimits(tile, chunk=chunk)
    if output is not None:
        check_writable(output, force=force)
    build_and_tell(plan, runtime, options, limits, output, timing_cache)


def build_and_tell(
    plan: Path,
    flavour: Flavour,
    options: BuildOptions,
    limits: EngineLimits,
    output: Path | None = None,
    timing_cache: Path | None = None,
) -> None:
    """Build, and print what came of it."""
    from clit_deploy.cli.report import engine_line
    from clit_deploy.engines.store import build_into
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.runtimes.cuda.cuda_api import open_cuda
    from clit_deploy.runtimes.trt.tensorrt_api import load_tensorrt

    trt = load_tensorrt(flavour)
    try:
        cuda = open_cuda()
    except RuntimeUnavailableError as error:
        if not trt.is_rtx:
            raise
        typer.echo(f"  no device to compare on: {error}", err=True)
        cuda = None
    made = build_into(
        Plan.open(plan),
        trt,
        options,
        limits,
        cuda,
        target=output,
        timing_cache=timing_cache,
        progress=lambda step: typer.echo(f"  {step}", err=True),
    )
    path = output or plan
    typer.echo(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    typer.echo(engine_line(made.manifest.engines[-1]))
