"""Parsers of what people type: numbers, scales, sizes, positions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

import typer

from clit_deploy.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Value = TypeVar("Value")


def option_parser(parse: Callable[[str], Value]) -> Callable[[str], Value]:
    """The same for `typer.Option(parser=...)`, which replaces the message of a ValueError."""

    def parsed(text: str) -> Value:
        try:
            return parse(text)
        except OptionError as error:
            raise typer.BadParameter(str(error)) from error

    return parsed


def parse_whole(text: str) -> int:
    """`800` -> 800."""
    if not re.fullmatch(r"\s*[0-9]+\s*", str(text)):
        raise OptionError(f"'{text}' is not a whole number; write digits only, like 800.")
    return int(text)


def parse_number(text: str) -> float:
    """`0.05` -> 0.05."""
    try:
        return float(text)
    except ValueError:
        raise OptionError(
            f"'{text}' is not a number; write it with a decimal point, like 0.05."
        ) from None


def parse_capability(text: str) -> str:
    """`86` or `8.6` -> `8.6`."""
    found = re.fullmatch(r"(?:sm_?)?(\d{1,2})\.?(\d)", text.strip().lower())
    if not found:
        raise OptionError(f"'{text}' is not a compute capability; write it like 8.6 or 86.")
    return f"{found[1]}.{found[2]}"


def parse_shard(text: str) -> tuple[int, int]:
    """`2/8` -> index and count."""
    found = re.fullmatch(r"\s*([0-9]{1,9})\s*/\s*([0-9]{1,9})\s*", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise OptionError(
            f"'{text[:200]}' is not a shard; write it like 2/8, the second of eight parts."
        )
    return int(found[1]), int(found[2])


def parse_size(text: str | None) -> tuple[int, int] | None:
    """`1920x1080` -> (height, width)."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
        raise OptionError(f"'{text[:200]}' is not a valid size; write it like 1920x1080.")
    return int(parts[1]), int(parts[0])


def parse_scales(text: str) -> list[float]:
    """`2,3.5,4` -> numbers."""
    return [_scale(part) for part in text.split(",")]


def all_scales(texts: Sequence[str] | None, default: str) -> list[float]:
    """The scales of a repeated `--scale`, in order, each once."""
    found = [scale for text in texts or [default] for scale in parse_scales(text)]
    return list(dict.fromkeys(found))


def parse_factors(text: str) -> list[float | tuple[float, float]]:
    """`2,3.5,2x3` -> numbers, and pairs (vertical, horizontal). `2x2` is the number 2."""
    found: list[float | tuple[float, float]] = []
    for part in text.split(","):
        pair = re.fullmatch(r"\s*([0-9.]+)\s*x\s*([0-9.]+)\s*", part.lower())
        if pair is None:
            found.append(_scale(part))
        else:
            across, down = _scale(pair[1]), _scale(pair[2])
            found.append(across if across == down else (down, across))
    return found


def all_factors(texts: Sequence[str]) -> list[float | tuple[float, float]]:
    """The factors of a repeated `--scale`, in order, each once."""
    return list(dict.fromkeys(factor for text in texts for factor in parse_factors(text)))


def _scale(part: str) -> float:
    try:
        return float(part)
    except ValueError:
        pass
    if re.fullmatch(r"\s*[0-9.]+\s*x\s*[0-9.]+\s*", part.lower()):
        raise OptionError(
            f"'{part[:200]}' has two factors, and this command needs one for both sides, like 2.5."
        )
    number = re.fullmatch(r"\s*x?\s*([0-9]+(?:\.[0-9]+)?)\s*(x|%)?\s*", part.lower())
    if number is None:
        example = "4, 2.5 or 2,3,4"
    else:
        value = float(number[1]) / (100 if number[2] == "%" else 1)
        example = f"{value:g}"
    raise OptionError(f"'{part[:200]}' is not a valid scale; write {example}.")


def may_be_decimal_comma(texts: Sequence[str] | None) -> bool:
    """Whether somebody may have meant 2.5 by `2,5`."""
    return len(texts or ()) == 1 and bool(re.fullmatch(r"[0-9],[0-9]+", (texts or [""])[0]))


_COLORS = {"white": (255, 255, 255), "black": (0, 0, 0), "gray": (128, 128, 128)}


def parse_color(text: str) -> tuple[int, int, int]:
    """`white`, `black`, `gray`, `#rrggbb` or `#rgb` -> 8-bit RGB."""
    if text.lower() in _COLORS:
        return _COLORS[text.lower()]
    digits = text.removeprefix("#")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    if not re.fullmatch(r"[0-9a-fA-F]{6}", digits):
        raise OptionError(
            f"'{text[:200]}' is not a color; write white, black, gray or #rrggbb, like #ffcc00."
        )
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue


def parse_position(text: str) -> tuple[int, int]:
    """`X,Y` -> (row, column)."""
    found = re.fullmatch(r"\s*(-?[0-9]+)\s*,\s*(-?[0-9]+)\s*", text)
    if not found:
        raise OptionError(f"'{text}' is not a position; write it like 120,80 (column, row).")
    return int(found[2]), int(found[1])


def parse_rectangle(text: str | None) -> tuple[float, float, float, float] | None:
    """`10,20,100,80.5` -> left, top, width and height."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 4 or not all(re.fullmatch(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+", p) for p in parts):
        raise OptionError(
            f"'{text[:200]}' is not a rectangle; write it like 10,20,100,80 (left, top, width, "
            "height in pixels of the image)."
        )
    left, top, width, height = map(float, parts)
    return left, top, width, height


def parse_region(text: str) -> tuple[tuple[int, int], int | None]:
    """`X,Y` or `X,Y,SIDE` -> (row, column), and the side of a square if there is one."""
    found = re.fullmatch(r"\s*([0-9]+)\s*,\s*([0-9]+)\s*(?:,\s*([0-9]+)\s*)?", text)
    if not found or (found[3] is not None and int(found[3]) == 0):
        raise OptionError(
            f"'{text[:200]}' is not a region; write it like 120,80 (column, row) or 120,80,64 with "
            "its side."
        )
    return (int(found[2]), int(found[1])), int(found[3]) if found[3] else None
