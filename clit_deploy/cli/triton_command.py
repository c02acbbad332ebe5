"""`clit-deploy triton`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clit_deploy.cli.options import EngineOption, PlanArgument, chosen_plan, whole_option
from clit_deploy.cli.running_options import RunningOptions
from clit_deploy.cli.terminal import print_result, terminal

DEFAULT_NAME = "upscale"


def triton(
    plan: PlanArgument = None,
    engine: EngineOption = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="The model repository; missing or empty."
        ),
    ] = Path("models"),
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="The model's name in requests.")
    ] = DEFAULT_NAME,
    instances: Annotated[
        int,
        whole_option("--instances", metavar="NUMBER", help="Processes, on the CPU or each GPU."),
    ] = 1,
    queue: Annotated[
        int,
        whole_option("--queue", metavar="NUMBER", help="Requests that may wait in the server."),
    ] = 32,
    max_pixels: Annotated[
        int | None,
        whole_option(
            "--max-pixels",
            metavar="NUMBER",
            help="Pixels of the largest image that a request may send or get.",
            show_default="as memory allows, at most 100000000",
        ),
    ] = None,
    where: RunningOptions = RunningOptions(),  # noqa: B008
) -> None:
    """Write a model repository for NVIDIA Triton, which serves the plan over HTTP and gRPC.

    Where to run is decided when Triton loads the model; --threads and --max-memory are those of an
    instance.
    """
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.triton.model_repository import write_repository
    from clit_deploy.triton.model_settings import ModelSettings

    settings = ModelSettings(instances=instances, queue=queue, max_pixels=max_pixels, **vars(where))
    opened = Plan.open(chosen_plan(plan, engine))
    print_result(str(write_repository(opened, output, name, settings)))
    terminal.note(
        f"{output / 'README.md'} says what the server's Python needs. "
        f"Next: tritonserver --model-repository={output}"
    )
