"""`clit-deploy profile` and `clit-deploy profile-diff`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clit_deploy.cli.exit_codes import ExitCode
from clit_deploy.cli.json_document import plain, print_document
from clit_deploy.cli.options import (
    DefaultEngineOption,
    DeviceOption,
    ForceOption,
    JsonOption,
    MemoryOption,
    RuntimeOption,
    ThreadsOption,
    scale_option,
    whole_option,
)
from clit_deploy.cli.terminal import ProgressBar, terminal
from clit_deploy.cli.typed_values import all_scales, option_parser, parse_number
from clit_deploy.config import RuntimeName
from clit_deploy.errors import OptionError, OutputError
from clit_deploy.system.files import check_file, check_writable, replacing

if TYPE_CHECKING:
    from collections.abc import Callable

    from clit_deploy.profile.profile_file import Profile


def profile(
    engine: DefaultEngineOption = None,
    image: Annotated[
        Path | None,
        typer.Option(help="The image to upscale.", show_default="the package's photograph"),
    ] = None,
    scale: Annotated[list[str] | None, scale_option("4")] = None,
    duration: Annotated[
        str | None,
        typer.Option(help="Time to measure each row, like 30s or 10m.", show_default="10s"),
    ] = None,
    iterations: Annotated[
        int | None,
        whole_option(metavar="NUMBER", help="Number of runs to measure, instead of a duration."),
    ] = None,
    runtime: RuntimeOption = RuntimeName.AUTO,
    threads: ThreadsOption = None,
    max_memory: MemoryOption = None,
    device: DeviceOption = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            "--sweep",
            help="KEY=VALUE,VALUE with a KEY of plan, precision, scale, runtime, threads, tile or "
            "block: measure each combination. Repeatable.",
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="The FP32 plan that decibels are measured against.",
            show_default="the FP32 plan of the same checkpoint, if there is one",
        ),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json-file", "-o", "--output", help="Write the profile, as JSON."),
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv-file", help="Write one line per row, as CSV.")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html-file", help="Write a page with plots.")
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure latency, memory and energy of a plan on this machine. No setting is changed."""
    from rich.console import Console

    from clit_deploy.profile.page import to_html
    from clit_deploy.profile.profiler import Request
    from clit_deploy.profile.profiler import profile as measure
    from clit_deploy.profile.sweep import Sweep, check_iterations, parse_duration
    from clit_deploy.profile.table import show
    from clit_deploy.profile.text import describe_work, label, verdict

    _check_outputs([path for path in (json_file, csv_file, html_file) if path], force)
    request = Request(
        plan=engine,
        image=image,
        scales=all_scales(scale, "4"),
        seconds=None if duration is None else parse_duration(duration),
        iterations=None if iterations is None else check_iterations(iterations),
        runtime=runtime.value,
        threads=threads,
        max_memory=max_memory,
        sweeps=[Sweep.parse(text) for text in sweep or []],
        reference=reference,
        device=device,
        command=shlex.join(["clit-deploy", *sys.argv[1:]]),
    )
    window = request.window()
    what = image.name if image else "the package's photograph"
    work = describe_work(len(request.cases()), window.seconds, window.runs, what)
    terminal.note(work)
    with ProgressBar("profile") as bar:
        found = measure(request, (lambda _, done: bar(done)) if bar else None)
    wrong = _write(
        [
            (json_file, found.to_json),
            (csv_file, found.to_csv),
            (html_file, lambda: to_html(found)),
        ]
    )
    if as_json:
        typer.echo(found.to_json(), nl=False)
    else:
        show(found, Console())  # after the files: a closed pipe does not cost them
    if wrong:
        raise wrong[0]
    for one in found.failed:
        terminal.error(f"clit-deploy: {label(one)} could not be measured: {one.reason}")
    _say(f"{verdict(found)} Next: clit-deploy {_next(json_file)}", as_json)
    if found.failed:
        raise typer.Exit(ExitCode.ERROR)


def profile_diff(
    before: Annotated[Path, typer.Argument(help="The profile to compare with (JSON).")],
    after: Annotated[Path, typer.Argument(help="The newer profile (JSON).")],
    threshold: Annotated[
        float,
        typer.Option(
            parser=option_parser(parse_number),
            metavar="PERCENT",
            help="Percent by which something must get worse to count.",
        ),
    ] = 5.0,
    floating: Annotated[
        bool, typer.Option("--floating", help="Compare runs with floating clocks too.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare two profiles. Exits with 3 for a regression, with 4 if they are not comparable."""
    from rich.console import Console

    from clit_deploy.profile.diff import compare_profiles
    from clit_deploy.profile.table import show_changes

    profiles = _read(before), _read(after)
    found = compare_profiles(*profiles, threshold, floating=floating)
    if as_json:
        print_document(**plain(found), regressed=found.regressed)
    else:
        show_changes(found, Console())
    limit = f"worse by more than {threshold:g} % and the noise"
    if found.regressed:
        _say(
            f"REGRESSION: something is {limit}. Next: clit-deploy profile with --html-file "
            "page.html shows where the time goes.",
            as_json,
        )
        raise typer.Exit(ExitCode.REGRESSION)
    _say(f"PASS: nothing is {limit}.", as_json)


def _say(verdict: str, as_json: bool) -> None:
    """Print the last line; beside JSON on stdout it goes to stderr."""
    typer.echo(verdict, err=as_json)


def _next(json_file: Path | None) -> str:
    if json_file is None:
        return "profile with -o before.json, to compare later runs"
    return f"profile-diff {shlex.quote(str(json_file))} LATER.json"


def _read(path: Path) -> Profile:
    from clit_deploy.profile.profile_file import Profile

    check_file(path, "profile")
    return Profile.from_json(path.read_bytes(), path.name)


def _check_outputs(paths: list[Path], force: bool) -> None:
    for path in paths:
        check_writable(path, force=force)
    if len({path.resolve() for path in paths}) < len(paths):
        raise OptionError(
            "--json-file, --csv-file and --html-file need different files; rename one of them."
        )


def _write(contents: list[tuple[Path | None, Callable[[], str]]]) -> list[OutputError]:
    """Write what is requested; a file that cannot be written does not cost the others, nor the
    table.

    Returns: what went wrong.
    """
    wrong: list[OutputError] = []
    for path, content in contents:
        try:
            if path:
                with replacing(path) as part:
                    part.write_text(content(), encoding="utf-8")
        except OutputError as error:
            wrong.append(error)
    return wrong
