"""Options that say how an output file is written."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, ClassVar

import typer

from clit_deploy.cli.options import whole_option
from clit_deploy.cli.typed_values import option_parser, parse_color
from clit_deploy.images.image_formats import named_suffix
from clit_deploy.images.image_options import WHITE, ImageOptions


class Depth(str, Enum):
    """Bits of a channel of the output."""

    EIGHT = "8"
    SIXTEEN = "16"
    FLOAT = "float"


@dataclass(frozen=True)
class EncodingOptions:
    """How an output is written. By default it is like the input."""

    PANEL: ClassVar[str] = "The output file"

    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            parser=option_parser(named_suffix),
            metavar="FORMAT",
            help="png, jpg, webp, tif, avif, gif or bmp, for outputs that --output does not name.",
            show_default="the input's own if it can hold the output, else png",
        ),
    ] = None
    depth: Annotated[
        Depth | None,
        typer.Option("--depth", help="Bits of a channel.", show_default="the input's own"),
    ] = None
    quality: Annotated[
        int | None,
        whole_option(
            "--quality",
            metavar="1-100",
            help="Of JPEG, WebP and AVIF.",
            show_default="95; AVIF 85",
        ),
    ] = None
    lossless: Annotated[bool, typer.Option("--lossless", help="Of WebP and AVIF.")] = False
    tiled: Annotated[
        bool, typer.Option("--tiled", help="TIFF in tiles with smaller copies, for large images.")
    ] = False
    srgb: Annotated[
        bool, typer.Option("--srgb", help="Convert to sRGB instead of keeping the color profile.")
    ] = False
    background: Annotated[
        Any,
        typer.Option(
            "--background",
            parser=option_parser(parse_color),
            metavar="COLOR",
            help="Under transparent parts, in formats without transparency: a name or #rrggbb.",
            show_default="white",
        ),
    ] = None
    strip: Annotated[
        bool, typer.Option("--strip", help="Write no metadata but the color profile.")
    ] = False

    def image_options(self) -> ImageOptions:
        """The same for the library.

        Raises:
            OptionError: a value out of its range.
        """
        return ImageOptions(
            format=self.format,
            depth=self.depth and self.depth.value,
            quality=self.quality,
            lossless=self.lossless,
            tiled=self.tiled,
            srgb=self.srgb,
            background=self.background or WHITE,
            strip=self.strip,
        )
