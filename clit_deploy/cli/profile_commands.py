"""`clit-deploy profile` and `clit-deploy profile-diff`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clit_deploy.cli.options import (
    DefaultEngineOption,
    ForceOption,
    JsonOption,
    MemoryOption,
    ProgressBar,
    RuntimeOption,
    ThreadsOption,
    parse_scales,
)
from clit_deploy.config import RuntimeName
from clit_deploy.errors import NotComparableError, OutputError, OutputExistsError
from clit_deploy.system.files import check_file, check_writable, replacing

if TYPE_CHECKING:
    from clit_deploy.profile.profile_file import Profile


def profile(
    engine: DefaultEngineOption = None,
    image: Annotated[
        Path | None, typer.Option(help="A picture.", show_default="the package's photograph")
    ] = None,
    scale: Annotated[
        list[str] | None, typer.Option("--scale", help="Scales; may be repeated.", show_default="4")
    ] = None,
    duration: Annotated[
        str | None,
        typer.Option(help="Measure each row that long, like 30s or 10m.", show_default="10s"),
    ] = None,
    iterations: Annotated[int | None, typer.Option(help="Measure that many runs instead.")] = None,
    runtime: RuntimeOption = RuntimeName.AUTO,
    threads: ThreadsOption = None,
    max_memory: MemoryOption = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            "--sweep",
            help="KEY=VALUE,VALUE of plan, precision, scale, runtime, threads, tile or block.",
        ),
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="The FP32 plan that decibels are measured against.")
    ] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write a JSON file.")] = None,
    csv_path: Annotated[Path | None, typer.Option("--csv", help="Write a CSV file.")] = None,
    html_path: Annotated[Path | None, typer.Option("--html", help="Write an HTML page.")] = None,
    force: ForceOption = False,
) -> None:
    """Measure latency, memory and energy of a plan on this machine; nothing is changed."""
    from rich.console import Console

    from clit_deploy.profile.csv_file import to_csv
    from clit_deploy.profile.html import to_html
    from clit_deploy.profile.profiler import Request
    from clit_deploy.profile.profiler import profile as measure
    from clit_deploy.profile.sweep import Sweep, check_iterations, parse_duration
    from clit_deploy.profile.table import show
    from clit_deploy.profile.text import label

    outputs = [path for path in (json_path, csv_path, html_path) if path]
    _check_outputs(outputs, force)
    request = Request(
        plan=engine,
        image=image,
        scales=[value for text in scale or ["4"] for value in parse_scales(text)],
        seconds=None if duration is None else parse_duration(duration),
        iterations=None if iterations is None else check_iterations(iterations),
        runtime=runtime.value,
        threads=threads,
        max_memory=max_memory,
        sweeps=[Sweep.parse(text) for text in sweep or []],
        reference=reference,
    )
    with ProgressBar("profile") as bar:
        found = measure(request, (lambda _, done: bar(done)) if bar else None)
    wrong = _written(
        [
            (json_path, found.to_json()),
            (csv_path, to_csv(found)),
            (html_path, to_html(found)),
        ]
    )
    show(found, Console())  # last: a pipe that is closed does not cost the files
    if wrong:
        raise wrong[0]
    for one in found.failed:
        typer.echo(f"clit-deploy: {label(one)} could not be measured: {one.reason}", err=True)
    if found.failed:
        raise typer.Exit(1)


REGRESSED, NOT_COMPARABLE = 3, 4
"""Exit codes of `profile-diff`, beside 0 for no regression and 1 for other errors."""


def profile_diff(
    before: Annotated[Path, typer.Argument(help="The profile to hold against (JSON).")],
    after: Annotated[Path, typer.Argument(help="The newer profile (JSON).")],
    threshold: Annotated[
        float, typer.Option(help="Percent that something must get worse by to count.")
    ] = 5.0,
    floating: Annotated[
        bool, typer.Option("--floating", help="Compare runs with floating clocks too.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare two profiles: exits with 3 where something is worse, with 4 where none can tell."""
    import dataclasses
    import json

    from rich.console import Console

    from clit_deploy.profile.diff import compare_profiles
    from clit_deploy.profile.table import show_changes

    profiles = _read(before), _read(after)
    try:
        found = compare_profiles(*profiles, threshold, floating=floating)
    except NotComparableError as error:
        typer.echo(f"clit-deploy: {error}", err=True)
        raise typer.Exit(NOT_COMPARABLE) from error
    if as_json:
        content = {**dataclasses.asdict(found), "regressed": found.regressed}
        typer.echo(json.dumps(content, indent=1, allow_nan=False))
    else:
        show_changes(found, threshold, Console())
    if found.regressed:
        raise typer.Exit(REGRESSED)


def _read(path: Path) -> Profile:
    from clit_deploy.profile.profile_file import Profile

    check_file(path, "profile")
    return Profile.from_json(path.read_bytes(), path.name)


def _check_outputs(paths: list[Path], force: bool) -> None:
    for path in paths:
        check_writable(path, force=force)
    if len({path.resolve() for path in paths}) < len(paths):
        raise OutputExistsError("Two of --json, --csv and --html name the same file; rename one.")


def _written(outputs: list[tuple[Path | None, str]]) -> list[OutputError]:
    """Write what is asked for; a file that cannot be written does not cost the others, nor the
    table.

    Returns: what went wrong.
    """
    wrong: list[OutputError] = []
    for path, content in outputs:
        try:
            if path:
                with replacing(path) as part:
                    part.write_text(content, encoding="utf-8")
        except OutputError as error:
            wrong.append(error)
    return wrong
