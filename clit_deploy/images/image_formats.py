"""The formats that images are written in, and what each of them can hold."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clit_deploy.config import show_bytes
from clit_deploy.errors import OptionError, SizeError
from clit_deploy.images.image_options import DEFAULT, ImageOptions

if TYPE_CHECKING:
    from pathlib import Path

    from clit_deploy.grid.cascade import Size
    from clit_deploy.images.decoded_image import ImageHeader

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageFormat:
    """What a format can hold."""

    name: str
    suffixes: tuple[str, ...]
    """Ends of file names; the first one is the one that we write."""
    longest: int
    """Pixels of its longest side."""
    depths: tuple[str, ...]
    """Of `image_options.DEPTHS`, the smallest first."""
    alpha: bool = True
    gray: bool = True
    """Whether it can hold one channel; otherwise gray is written as RGB."""
    colors: int | None = None
    """Most different colors, if they are limited."""
    largest: int | None = None
    """Most bytes of uncompressed pixels."""
    held: int = 0
    """Bytes that its encoder holds until the end, for each pixel; 0 if it writes row by row."""


FORMATS = (
    # libpng, and with it nearly every reader, refuses longer sides.
    ImageFormat("PNG", (".png",), 1_000_000, ("8", "16")),
    ImageFormat("JPEG", (".jpg", ".jpeg"), 65_500, ("8",), alpha=False),
    ImageFormat("WebP", (".webp",), 16_383, ("8",), gray=False, held=21),
    ImageFormat("TIFF", (".tif", ".tiff"), 1_000_000, ("8", "16", "float")),
    ImageFormat("AVIF", (".avif",), 16_384, ("8", "16"), gray=False, held=30),
    ImageFormat("GIF", (".gif",), 65_535, ("8",), gray=False, colors=256, held=16),
    ImageFormat("BMP", (".bmp",), 32_767, ("8",), alpha=False, gray=False, largest=4_000_000_000),
)
"""Formats that can be written. Bytes that encoders hold are measured at 54 megapixels."""

SUFFIXES = {suffix: form for form in FORMATS for suffix in form.suffixes}

BEST_COMPRESSION = 1032
"""Deflate, the compression of PNG, makes nothing smaller than that."""


def format_of(path: Path) -> ImageFormat:
    """The format that a file name stands for.

    Raises:
        SizeError: another extension, or none.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise SizeError(
            f"{path.name}: the format {suffix or 'without extension'!r} cannot be written; "
            f"use one of {', '.join(SUFFIXES)}."
        )
    return SUFFIXES[suffix]


def named_suffix(name: str) -> str:
    """The extension for a format that an option names: `jpg`, `.jpg`, `JPEG`.

    Raises:
        OptionError: no such format can be written.
    """
    suffix = f".{name.lower().removeprefix('.')}"
    if suffix not in SUFFIXES:
        known = ", ".join(form.suffixes[0][1:] for form in FORMATS)
        raise OptionError(f"'{name:.200}' is not a format that can be written; use {known}.")
    return suffix


def output_suffix(
    source: Path, header: ImageHeader, output: Size, options: ImageOptions = DEFAULT
) -> str:
    """The extension of a result that has no name yet: the input's own format, if it can hold it.

    Args:
        source: the input, whose spelling of the extension is kept.
        header: of the input.
        output: height and width of the result.
        options: a format that is named there comes first.

    Raises:
        OptionError: the named format cannot be written.
    """
    if options.format is not None:
        return named_suffix(options.format)
    own = next((form for form in FORMATS if form.name == header.format), None)
    reason = _obstacle(own, header, output, options)
    if own is None or (reason and own.name != "PNG"):
        log.warning("%s: %s, so the result is a PNG", source.name, reason)
        return ".png"
    return source.suffix if source.suffix.lower() in own.suffixes else own.suffixes[0]


def _obstacle(
    form: ImageFormat | None, header: ImageHeader, output: Size, options: ImageOptions
) -> str | None:
    """Why a format cannot hold a result; None if it can."""
    name = header.format
    if form is None:
        return f"{name} files cannot be written"
    if form.colors is not None:
        return f"{name} files hold at most {form.colors} colors"
    if max(output) > form.longest:
        return f"{name} files hold at most {form.longest:,} pixels a side"
    if header.alpha and not form.alpha:
        return f"{name} files have no transparency"
    if (options.depth or header.depth) not in form.depths:
        return f"{name} files hold {' or '.join(form.depths)} bits a channel"
    return None


def _way_out(size: Size) -> str:
    fitting = [form for form in FORMATS if max(size) <= form.longest and form.largest is None]
    names = " or ".join(f"a {form.suffixes[0]}" for form in fitting if form.name in ("PNG", "TIFF"))
    return f"write {names}" if names else "request a smaller output"


def check_format(
    path: Path, size: Size, *, alpha: bool = False, options: ImageOptions = DEFAULT
) -> None:
    """Refuse a file name whose format, or whose disk, cannot hold the output.

    Args:
        path: the output file.
        size: its height and width in pixels.
        alpha: whether the output has transparency; a format without it gets a background.
        options: what is requested of the format.

    Raises:
        SizeError: an unknown extension, a side beyond the format's limit, or more pixels than
            the format or the disk can hold at the best compression to be expected.
        OptionError: the format cannot have what is requested.
    """
    form = format_of(path)
    if max(size) > form.longest or size[0] * size[1] * 3 > (form.largest or 1 << 63):
        raise SizeError(
            f"{form.name} files hold at most {form.longest:,} pixels a side, but the output has "
            f"{size[1]}x{size[0]}; {_way_out(size)}."
        )
    if options.depth is not None and options.depth not in form.depths:
        raise OptionError(
            f"{form.name} files hold {' or '.join(form.depths)} bits a channel, not "
            f"{options.depth}; write a .tif."
        )
    if options.lossless and form.name in ("JPEG", "GIF"):
        raise OptionError(f"{form.name} files are never lossless; write a .png or a .webp.")
    free = shutil.disk_usage(path.parent).free
    if size[0] * size[1] * 3 > BEST_COMPRESSION * free:
        raise SizeError(
            f"An output of {size[1]}x{size[0]} pixels does not fit on the disk of {path.parent}, "
            f"which has {show_bytes(free)} free."
        )
    if alpha and not form.alpha:
        _say_background(form.name)


def _say_background(name: str) -> None:
    """Say what becomes of transparent parts, once for each format."""
    if name not in _said:
        log.warning(
            "%s files have no transparency; transparent parts get the background, which "
            "--background sets.",
            name,
        )
        _said.add(name)


_said: set[str] = set()


def channels_of(path: Path, *, alpha: bool, gray: bool = False) -> int:
    """Channels that are written to a file: 1 (gray) or 3 (RGB), and one more for transparency."""
    form = format_of(path)
    return (1 if gray and form.gray else 3) + (alpha and form.alpha)


def depth_of(path: Path, depth: str) -> str:
    """The depth that a file is written with: the one given, or the most that its format holds."""
    depths = format_of(path).depths
    return depth if depth in depths else depths[-1]


def held_per_pixel(path: Path) -> int:
    """Bytes that writing a file holds until its end, per pixel of the output."""
    return format_of(path).held


def lossless_like(options: ImageOptions, header: ImageHeader, target: Path) -> ImageOptions:
    """These options, and lossless for a lossless WebP that stays a WebP, if no quality is named."""
    same = format_of(target).name == header.format
    if header.lossless and same and options.quality is None:
        return dataclasses.replace(options, lossless=True)
    return options
