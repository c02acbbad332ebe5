"""Options that say how large an output is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from clit_deploy.cli.options import ScaleOption, SizeOption, whole_option
from clit_deploy.cli.typed_values import all_factors, parse_rectangle, parse_size
from clit_deploy.errors import OptionError

if TYPE_CHECKING:
    from clit_deploy.tasks.output_size import OutputSize


def _side(name: str, text: str) -> Any:
    return whole_option(name, metavar="PIXELS", help=text)


def _box(name: str, text: str) -> Any:
    return typer.Option(name, metavar="WIDTHxHEIGHT", help=text)


@dataclass(frozen=True)
class SizeOptions:
    """The size of an output; one of them is needed."""

    PANEL: ClassVar[str] = "Size"

    scale: ScaleOption = None
    size: SizeOption = None
    width: Annotated[int | None, _side("--width", "Output width; the height follows.")] = None
    height: Annotated[int | None, _side("--height", "Output height; the width follows.")] = None
    longest: Annotated[int | None, _side("--longest", "The longer side of the output.")] = None
    shortest: Annotated[int | None, _side("--shortest", "The shorter side of the output.")] = None
    fit: Annotated[str | None, _box("--fit", "The largest output that fits into this size.")] = None
    fill: Annotated[
        str | None, _box("--fill", "Exactly this size; what stands out on two sides is cut off.")
    ] = None
    region: Annotated[
        str | None,
        typer.Option(
            "--region",
            metavar="X,Y,WIDTH,HEIGHT",
            help="Show only this part of each image, in its pixels, whole or not; the size is that "
            "of the part.",
        ),
    ] = None

    def sizes(self) -> list[OutputSize]:
        """The requested sizes: several for several scales.

        Raises:
            OptionError: none or several options are given, or one has an invalid value.
        """
        from clit_deploy.tasks.output_size import OutputSize

        others: dict[str, Any] = {
            "size": parse_size(self.size),
            "width": self.width,
            "height": self.height,
            "longest": self.longest,
            "shortest": self.shortest,
            "fit": parse_size(self.fit),
            "fill": parse_size(self.fill),
            "region": parse_rectangle(self.region),
        }
        factors = all_factors(self.scale) if self.scale else [None]
        sizes = [
            OutputSize(factors=factor, **others)
            if isinstance(factor, tuple)
            else OutputSize(scale=factor, **others)
            for factor in factors
        ]
        sizes[0].check()
        return sizes


def one_size(scale: list[str] | None, size: str | None) -> OutputSize:
    """The size for a command that makes one output.

    Raises:
        OptionError: none, several, or an invalid one.
    """
    if bool(scale) == bool(size):
        raise OptionError("Give either --scale or --size.")
    sizes = SizeOptions(scale=scale, size=size).sizes()
    if len(sizes) > 1:
        raise OptionError(
            f"'{','.join(scale or ())}' is more than one scale, and this command takes one; "
            "write a decimal point, like 2.5."
        )
    return sizes[0]
