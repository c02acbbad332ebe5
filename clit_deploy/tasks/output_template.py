"""Templates for the names of results: `{stem}_{scale}x.{ext}`."""

from __future__ import annotations

import string
from dataclasses import asdict, dataclass

from clit_deploy.errors import OptionError

FIELDS = {
    "stem": "the name of the image without its extension",
    "ext": "the extension of the result, without the point",
    "scale": "the factor, like 2.5, or 2x3",
    "size": "width and height of the result, like 1920x1080",
    "width": "its width in pixels",
    "height": "its height in pixels",
    "folder": "the folder of the image, below the folder that was named",
    "number": "1 for the first result, 2 for the second; {number:03} has leading zeros",
}
"""What a template can hold between braces."""


@dataclass(frozen=True)
class TemplateFields:
    """The values of `FIELDS` for one result."""

    stem: str
    ext: str
    scale: str
    size: str
    width: int
    height: int
    folder: str
    number: int


SAMPLE = TemplateFields("a", "png", "2", "2x2", 2, 2, "a", 1)


def is_template(output: str) -> bool:
    """Whether an output is a template."""
    return "{" in output


def check_template(template: str) -> None:
    """Refuse a template with unknown fields.

    Raises:
        OptionError: it has one, or it is not valid.
    """
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
        unknown = [name for name in fields if name not in FIELDS]
        if not unknown:
            filled(template, SAMPLE)
    except ValueError as error:
        raise OptionError(f"The template {template[:200]!r} is not valid: {error}.") from error
    if unknown:
        raise OptionError(
            f"The template {template[:200]!r} has the field {unknown[0][:60]!r}; known are "
            f"{', '.join(FIELDS)}."
        )


def filled(template: str, fields: TemplateFields) -> str:
    """The name that a template makes."""
    return template.format_map(asdict(fields))
