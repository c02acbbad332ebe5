"""Frozen dataclasses from JSON, with the type and the range of every value checked."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from clit_deploy.errors import printable, quote

T = TypeVar("T")


def from_json(kind: type[T], content: Any) -> T:
    """Make a dataclass, and those inside it; unknown fields are ignored.

    Text loses its control characters.

    Raises:
        TypeError, ValueError: a value has another type than its field, or is out of its range; the
            message names the field.
    """
    if not isinstance(content, Mapping):
        raise _wrong(kind.__name__, content)
    hints = get_type_hints(kind, include_extras=True)
    found = {name: hint for name, hint in hints.items() if name in content}
    return kind(**{name: _value(hint, content[name], name) for name, hint in found.items()})


def _value(hint: Any, value: Any, name: str) -> Any:
    """A value as the field's type needs it."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _in_range(inner[0], inner[1:], value, name)
    if origin in (Union, UnionType):
        return _one_of(inner, value, name)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_json(hint, value)
    if origin in (tuple, list) and isinstance(value, list):
        return _items(origin, inner, value, name)
    if origin is dict and isinstance(value, Mapping):
        return {
            _value(inner[0], key, f"a name in {name}"): _value(inner[1], item, f"{name}.{key}")
            for key, item in value.items()
        }
    if hint is Any or _is(hint, value):
        return _clean(value)
    raise _wrong(name, value)


def _in_range(hint: Any, rules: tuple[Any, ...], value: Any, name: str) -> Any:
    found = _value(hint, value, name)
    for rule in rules:
        if not rule.holds(found):
            raise ValueError(f"{printable(name)} cannot be {quote(value)}; it is {rule}")
    return found


def _one_of(options: tuple[Any, ...], value: Any, name: str) -> Any:
    wrong: list[Exception] = []
    for option in options:
        try:
            return _value(option, value, name)
        except (TypeError, ValueError) as error:
            wrong.append(error)
    raise wrong[0]


def _items(
    kind: type[Any], inner: tuple[Any, ...], values: list[Any], name: str
) -> tuple[Any, ...] | list[Any]:
    each = [inner[0]] * len(values) if kind is list or inner[-1] is ... else list(inner)
    if len(each) != len(values):
        raise _wrong(name, values)
    found: tuple[Any, ...] | list[Any] = kind(
        _value(hint, value, name) for hint, value in zip(each, values, strict=True)
    )
    return found


def _is(hint: Any, value: Any) -> bool:
    """Whether a value has a plain type; int is accepted for float, bool is not."""
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if get_origin(hint) or isinstance(value, bool):
        return hint is bool
    if hint is float:
        return (
            isinstance(value, (int, float)) and -sys.float_info.max <= value <= sys.float_info.max
        )
    return isinstance(value, hint or type(None))


def _clean(value: Any) -> Any:
    """The same value with printable text."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, Mapping):
        return {printable(key): _clean(item) for key, item in value.items()}
    return value


def _wrong(name: str, value: Any) -> TypeError:
    return TypeError(f"{printable(name)} cannot be {quote(value)}")
