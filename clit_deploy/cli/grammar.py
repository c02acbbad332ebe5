"""What every command has: -q, --debug, a panel in the help, an example.

The grammar of the command line, which `tests/cli/test_grammar.py` checks for each command:

- `-e/--engine PLAN` (alias `--plan`) names a plan file or a model. Commands that are about a plan
  (info, verify, calibrate, build, compare) also take it as an argument; commands that are about an
  image take the image as an argument.
- `-s/--scale` can be repeated and takes lists, `--size` is WIDTHxHEIGHT. Two numbers with an x
  between them are always horizontal x vertical.
- `-o/--output` is the result, `--figure` a figure beside it.
- `--images` is a folder or an image, and can be repeated.
- `--json` is a flag: JSON on stdout. Other files have options like `--csv-file`.
- An IMAGE of `run` is an image, a folder or a pattern; `--from` is a list of them.
- `--runtime --device --threads --max-memory --no-rebuild` go together. `build` and `export` build
  engines instead of running them, so their `--runtime` says for which library. `profile` measures
  what is there and never rebuilds engines, so it lacks `--no-rebuild`.
- `-h/--help`, `-q/--quiet` and `--debug` are everywhere, `-V/--version` is before the command.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from clit_deploy.cli.terminal import TerminalHandler, terminal

if TYPE_CHECKING:
    from collections.abc import Callable

USE, MAKE, MEASURE = "Use", "Make", "Measure"
"""The panels of `clit-deploy --help`."""


@dataclass(frozen=True)
class Command:
    """A command as it is registered: `example` is a line that can be pasted."""

    function: Callable[..., None]
    panel: str
    example: str

    def add_to(self, app: typer.Typer) -> None:
        """Register it."""
        app.command(rich_help_panel=self.panel, epilog=f"Example: clit-deploy {self.example}")(
            _with_common_options(self.function)
        )


def start_logging() -> None:
    """Print warnings of the library as messages."""
    handler = TerminalHandler()
    handler.setFormatter(logging.Formatter("clit-deploy: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def _set_quiet(quiet: bool) -> None:
    if quiet:
        terminal.quiet = True
        logging.getLogger().setLevel(logging.ERROR)


def _set_debug(debug: bool) -> None:
    if debug:
        root = logging.getLogger()
        root.setLevel(logging.DEBUG)
        for handler in root.handlers:
            handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))


QuietOption = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", callback=_set_quiet, is_eager=True, help="Print results and errors only."
    ),
]
DebugOption = Annotated[
    bool,
    typer.Option(
        "--debug", callback=_set_debug, is_eager=True, help="Log every step, and show tracebacks."
    ),
]


def _with_common_options(function: Callable[..., None]) -> Callable[..., None]:
    """The command with -q and --debug, whose callbacks do all that they are for.

    A parameter whose type is a dataclass is a group: each of its fields becomes an option, in the
    group's own `PANEL` of the help if it has one.
    """
    own = inspect.signature(function, eval_str=True)
    groups: dict[str, Any] = {
        one.name: one.annotation
        for one in own.parameters.values()
        if dataclasses.is_dataclass(one.annotation)
    }

    @functools.wraps(function)
    def command(*, quiet: bool, debug: bool, **options: Any) -> None:  # noqa: ARG001
        for name, group in groups.items():
            fields = [field.name for field in dataclasses.fields(group)]
            options[name] = group(**{field: options.pop(field) for field in fields})
        function(**options)

    parameters = [
        option
        for one in own.parameters.values()
        for option in (_options_of(one) if one.name in groups else [one])
    ]
    parameters += [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation
        )
        for name, annotation in (("quiet", QuietOption), ("debug", DebugOption))
    ]
    command.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


def _options_of(group: inspect.Parameter) -> list[inspect.Parameter]:
    """The options of a group, as parameters in its place."""
    types = get_type_hints(group.annotation, include_extras=True)
    panel = getattr(group.annotation, "PANEL", None)
    return [
        inspect.Parameter(
            field.name,
            group.kind,
            default=field.default,
            annotation=_in_panel(types[field.name], panel),
        )
        for field in dataclasses.fields(group.annotation)
    ]


def _in_panel(annotation: Any, panel: str | None) -> Any:
    """The annotation of an option that is shown in a panel, unless it names one itself."""
    option = copy.copy(annotation.__metadata__[0])
    option.rich_help_panel = option.rich_help_panel or panel
    return Annotated[annotation.__origin__, option]
