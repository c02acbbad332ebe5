"""Frozen dataclasses from the JSON that they were written as, every value checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def from_json(kind: type[T], content: Any) -> T:
    """Make a dataclass, and those inside it; what it does not know is left out.

    Raises:
        TypeError: `content` is not what the dataclass was written as; the message has the field.
    """
    if not isinstance(content, Mapping):
        raise _wrong(kind.__name__, content)
    hints = get_type_hints(kind)
    found = {name: hint for name, hint in hints.items() if name in content}
    return kind(**{name: _value(hint, content[name], name) for name, hint in found.items()})


def _value(hint: Any, value: Any, name: str) -> Any:
    """A value as a field of that type has it."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _one_of(inner, value, name)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_json(hint, value)
    if origin in (tuple, list) and isinstance(value, list):
        return _items(origin, inner, value, name)
    if origin is dict and isinstance(value, Mapping):
        return {key: _value(inner[1], item, f"{name}.{key}") for key, item in value.items()}
    if hint is Any or _is(hint, value):
        return value
    raise _wrong(name, value)


def _one_of(options: tuple[Any, ...], value: Any, name: str) -> Any:
    wrong: list[TypeError] = []
    for option in options:
        try:
            return _value(option, value, name)
        except TypeError as error:
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
    """Whether a value is of a plain type; whole numbers are numbers, but truth is none."""
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_origin(hint) or isinstance(value, bool):
        return hint is bool
    if hint is float:
        return isinstance(value, (int, float))
    return isinstance(value, hint or type(None))


def _wrong(name: str, value: Any) -> TypeError:
    return TypeError(f"{name} cannot be {value!r:.40}")
