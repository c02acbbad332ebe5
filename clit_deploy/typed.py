"""Frozen dataclasses from the JSON that they were written as."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")


def build(kind: type[T], content: Mapping[str, Any]) -> T:
    """Make a dataclass, and those inside it; what it does not know is left out.

    Raises:
        KeyError, TypeError, ValueError: `content` is not what the dataclass was written as.
    """
    hints = get_type_hints(kind)
    return kind(**{name: _value(hints[name], content[name]) for name in hints if name in content})


def _value(hint: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return build(hint, value)
    inner = [h for h in get_args(hint) if dataclasses.is_dataclass(h)]
    if isinstance(value, list):
        return tuple(_value(inner[0], v) if inner else v for v in value)
    if inner and value is not None:
        return _value(inner[0], value)
    return value
