"""The command line: parse, call the library, print. Heavy imports live inside the commands."""

from __future__ import annotations

import dataclasses
import json
import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clit_deploy import __version__
from clit_deploy.config import Precision, RuntimeName
from clit_deploy.errors import ClitDeployError, OutputError, SizeError
from clit_deploy.files import check_writable

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer(
    name="clit-deploy",
    help="Export arbitrary-scale super-resolution models and run them at any scale.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

RuntimeOption = Annotated[
    RuntimeName, typer.Option("--runtime", help="Where to run; auto takes the best present.")
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", help="Processors to use [default: all].")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
PlanArgument = Annotated[Path, typer.Argument(help="A .plan file.", show_default=False)]


def main() -> None:
    """Entry point: one sentence and a non-zero exit code for whatever goes wrong."""
    debug = "--debug" in sys.argv
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.WARNING,
        format="%(levelname)s: %(message)s" if debug else "clit-deploy: %(message)s",
    )
    for name in STOPS:
        signal.signal(name, _stop)
    try:
        app(arguments, prog_name="clit-deploy")
    except ClitDeployError as error:
        _fail(error.strerror or str(error) if isinstance(error, OutputError) else str(error), debug)
    except _Stopped as stop:
        _fail("stopped; nothing unfinished was left behind.", debug, code=128 + stop.signal)
    except MemoryError:
        _fail("out of memory; give --max-memory a size that the machine has.", debug)
    except Exception as error:  # whatever was not foreseen is one sentence too
        _fail(f"unforeseen {type(error).__name__}: {error}. --debug shows where.", debug)


STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class _Stopped(BaseException):
    """Ctrl-C and its like, under a name that typer does not take for itself."""

    def __init__(self, number: int) -> None:
        self.signal = number


def _stop(number: int, _: object) -> None:
    for name in STOPS:  # cleaning up is not to be interrupted
        signal.signal(name, signal.SIG_IGN)
    raise _Stopped(number)


def _fail(message: str, debug: bool, code: int = 1) -> None:
    if debug:
        logging.getLogger(__name__).exception("traceback of the error below")
    sys.stdout.flush()
    typer.echo(f"clit-deploy: {message}", err=True)
    sys.exit(code)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"clit-deploy {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Log every step, and show tracebacks.")
    ] = False,
) -> None:
    """Export arbitrary-scale super-resolution models and run them at any scale."""


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="A published checkpoint (.pth).")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The plan [default: CHECKPOINT.plan].")
    ] = None,
    precision: Annotated[Precision, typer.Option(help="Type of the graphs.")] = Precision.FP32,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing plan.")] = False,
) -> None:
    """Turn a checkpoint into a plan, and prove that it computes the same."""
    from clit_deploy.export.core import default_plan, export_checkpoint

    output = output or default_plan(checkpoint)
    check_writable(output, force=force)
    path = export_checkpoint(
        checkpoint,
        output,
        precision=precision.value,
        progress=lambda step: typer.echo(f"  {step}", err=True),
    )
    _print_proof(path)


@app.command()
def run(
    images: Annotated[list[Path], typer.Argument(help="Images to upscale.", show_default=False)],
    engine: Annotated[Path, typer.Option("--engine", "-e", help="The .plan file.")],
    scale: Annotated[float | None, typer.Option(help="Factor of both sides, 1 or more.")] = None,
    size: Annotated[str | None, typer.Option(help="Output size, WIDTHxHEIGHT.")] = None,
    width: Annotated[int | None, typer.Option(help="Output width; keeps the aspect.")] = None,
    height: Annotated[int | None, typer.Option(help="Output height; keeps the aspect.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Output file, or a folder [default: beside the image]."
        ),
    ] = None,
    max_memory: Annotated[
        str | None, typer.Option(help="Memory that may be used, like 2GB.")
    ] = None,
    runtime: RuntimeOption = RuntimeName.AUTO,
    threads: ThreadsOption = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Upscale images with a plan."""
    from clit_deploy.upscale_file import Wish, targets, upscale_file
    from clit_deploy.upscaler import load

    wish = Wish(scale, _parse_size(size), width, height)
    wish.check()
    outputs = targets(images, output, wish, force=force)
    outcomes: list[dict[str, Any]] = []
    try:
        with load(engine, runtime=runtime.value, threads=threads, max_memory=max_memory) as up:
            for image, target in zip(images, outputs, strict=True):
                with _progress_bar(image.name) as progress:
                    outcome = upscale_file(up, image, target, wish, force=force, progress=progress)
                outcomes.append({**dataclasses.asdict(outcome), "runtime": up.runtime.name})
                if not as_json:
                    wide, high, took = outcome.size[1], outcome.size[0], outcome.seconds
                    typer.echo(f"{target}  {wide}x{high}  {took:.1f} s  {up.runtime.name}")
    finally:
        if as_json:  # also what was finished before something went wrong
            typer.echo(json.dumps(outcomes, indent=1))


@app.command()
def info(plan: PlanArgument, as_json: JsonOption = False) -> None:
    """Show what a plan holds: model, stages, source, proof."""
    from clit_deploy.bundle import Plan
    from clit_deploy.report import describe

    manifest = Plan.open(plan).manifest
    typer.echo(manifest.to_json().rstrip() if as_json else describe(plan, manifest))


@app.command()
def verify(
    plan: PlanArgument,
    image: Annotated[
        Path | None, typer.Option(help="Compare tiled with whole on this image.")
    ] = None,
    runtime: RuntimeOption = RuntimeName.AUTO,
    as_json: JsonOption = False,
) -> None:
    """Repeat the plan's proof on this machine, and compare tiled with whole."""
    from clit_deploy.bundle import Plan
    from clit_deploy.report import verification
    from clit_deploy.verify import verify_plan

    result = verify_plan(Plan.open(plan), image, runtime.value)
    typer.echo(
        json.dumps(dataclasses.asdict(result), indent=1) if as_json else verification(result)
    )


def _parse_size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
        raise SizeError(f"{text!r} is no size; write it like 1920x1080.")
    return int(parts[1]), int(parts[0])


def _print_proof(path: Path) -> None:
    from clit_deploy.bundle import Plan
    from clit_deploy.report import proof_lines

    typer.echo(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    for line in proof_lines(Plan.open(path).manifest):
        typer.echo(line)


class _progress_bar:  # noqa: N801  (used like a function)
    """A bar with the time left on stderr, where that is a terminal; otherwise nothing."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._bar: Any = None

    def __enter__(self) -> Callable[[float], None] | None:
        if not sys.stderr.isatty():
            return None
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._bar.start()
        task = self._bar.add_task(self._name, total=1.0)
        return lambda done: self._bar.update(task, completed=done)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
