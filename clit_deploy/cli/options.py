"""Options that several commands share: one name, one meaning, one help text everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from clit_deploy.cli.typed_values import option_parser, parse_number, parse_whole
from clit_deploy.config import RuntimeName
from clit_deploy.errors import OptionError
from clit_deploy.system.files import check_writable
from clit_deploy.zoo.named_models import default_model, find_plan, is_packaged, named_models

RUNNING = "Where to run"
"""The panel of the options that every command has that runs a plan."""


def whole_option(*names: str, **settings: Any) -> Any:
    """`typer.Option` of a whole number."""
    return typer.Option(*names, parser=option_parser(parse_whole), **settings)


def _plan_names(incomplete: str) -> list[str]:
    return [name for name in named_models() if name.startswith(incomplete)]


_NAMES_A_PLAN = (
    "A .plan file, or the name of a model ('clit-deploy models' lists them). "
    "A file of that name comes before a model."
)


def _engine(**more: Any) -> Any:
    return typer.Option(
        "--engine",
        "--plan",
        "-e",
        parser=find_plan,
        metavar="PLAN",
        help=_NAMES_A_PLAN,
        autocompletion=_plan_names,
        **more,
    )


DefaultEngineOption = Annotated[Path | None, _engine(show_default=default_model().name)]
"""Of commands that run a plan on images."""
EngineOption = Annotated[Path | None, _engine(show_default=False)]
"""Of commands that are about a plan; they take it as an argument, too."""
PlanArgument = Annotated[
    Path | None,
    typer.Argument(
        parser=find_plan,
        metavar="PLAN",
        help="The same as --engine.",
        show_default=False,
        autocompletion=_plan_names,
    ),
]
ImageArgument = Annotated[
    Path, typer.Argument(metavar="IMAGE", help="An image.", show_default=False)
]

RuntimeOption = Annotated[
    RuntimeName,
    typer.Option(
        "--runtime",
        help="The runtime; auto takes the best that is present.",
        rich_help_panel=RUNNING,
    ),
]
ThreadsOption = Annotated[
    int | None,
    whole_option(
        "--threads",
        metavar="NUMBER",
        help="CPU threads.",
        show_default="all cores",
        rich_help_panel=RUNNING,
    ),
]
MemoryOption = Annotated[
    str | None,
    typer.Option(
        "--max-memory",
        metavar="BYTES",
        help="Memory that the process may use, like 2GB.",
        show_default="what is free",
        rich_help_panel=RUNNING,
    ),
]
RebuildOption = Annotated[
    bool,
    typer.Option(
        "--rebuild/--no-rebuild",
        help="Rebuild engines that are missing or built for another device, or fail instead.",
        rich_help_panel=RUNNING,
    ),
]

DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="ADAPTER",
        help="The WebGPU adapter: its number in 'clit-deploy doctor', or a part of its name.",
        show_default="the fastest GPU",
        rich_help_panel=RUNNING,
    ),
]

_SCALES = (
    "Factor of both sides, 1 or more. Repeat it, or separate factors by commas. "
    "run and attention also take 2x3, the factors of width and height."
)
ScaleOption = Annotated[
    list[str] | None,
    typer.Option("--scale", "-s", metavar="SCALES", help=_SCALES, show_default=False),
]


def scale_option(default: str) -> Any:
    """`--scale` of a command with a default."""
    return typer.Option("--scale", "-s", metavar="SCALES", help=_SCALES, show_default=default)


SizeOption = Annotated[
    str | None, typer.Option("--size", metavar="WIDTHxHEIGHT", help="Output size in pixels.")
]
OutputOption = Annotated[
    Path, typer.Option("--output", "-o", metavar="FILE", help="The result.", show_default=False)
]
ChangedPlanOption = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="The result.", show_default="the plan itself"
    ),
]
"""Of commands that change a plan in place if no output is named."""
_IMAGES = "A folder of images, or an image. Repeat it for several."
ImagesOption = Annotated[
    list[Path],
    typer.Option("--images", metavar="PATH", help=_IMAGES, show_default=False),
]
CalibrationImagesOption = Annotated[
    list[Path] | None,
    typer.Option("--images", metavar="PATH", help=_IMAGES, show_default="the package's"),
]
MaxDropOption = Annotated[
    float | None,
    typer.Option(
        "--max-drop",
        parser=option_parser(parse_number),
        metavar="DB",
        help="PSNR in dB that INT8 may lose at x2, x4 or x12, on the worst kind of image.",
        show_default="0.05",
    ),
]
ImagesArgument = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="IMAGE",
        help="Images, folders, or patterns like 'photos/*.png'.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]


def chosen_plan(argument: Path | None, engine: Path | None) -> Path:
    """The plan of a command that takes it as an argument or as an option.

    Raises:
        OptionError: none or both are given.
    """
    if argument is not None and engine is not None:
        raise OptionError("The argument PLAN and --engine cannot be combined; name the plan once.")
    plan = engine if argument is None else argument
    if plan is None:
        raise OptionError("No plan is named; name a .plan file or a model, like 'liif'.")
    return plan


def own_plan(plan: Path, output: Path | None, *, force: bool) -> Path:
    """A plan that is going to be changed in place, or written to `output`.

    Raises:
        OptionError: it is one of the package, and no output is named.
        OutputError, OutputExistsError: the output may not or cannot be written.
    """
    if output is not None:
        check_writable(output, force=force)
    elif is_packaged(plan):
        raise OptionError(
            f"'{plan.stem}' is part of the package, which stays as it is; name another plan to "
            f"write, like -o {plan.name}."
        )
    return plan


def beside(plan: Path, name: str) -> Path:
    """A file of this name beside a plan; in the working folder for a model of the package."""
    return Path(name) if is_packaged(plan) else plan.with_name(name)


def plans_argument() -> Any:
    """Several plans as arguments."""
    return typer.Argument(
        parser=find_plan,
        metavar="PLAN",
        help="The same as --engine, two or more.",
        show_default=False,
        autocompletion=_plan_names,
    )


def plans_option() -> Any:
    """`--engine` of a command that takes several plans."""
    return _engine(show_default=False)
