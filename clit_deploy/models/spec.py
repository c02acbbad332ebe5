"""Reading published specs, `{'name': ..., 'args': {...}}`, and building what they describe."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from clit_deploy.errors import ClitDeployError, UnsupportedModelError, printable
from clit_deploy.models.torch_errors import named_torch_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Built = TypeVar("Built")

MAX_INT, MAX_FLOAT = 2**16, 1e6
"""No width, count or factor of a published network comes near these."""

MAX_VALUES, MAX_DEPTH, MAX_TEXT = 10_000, 10, 1000
"""Of a whole spec: values, levels of nesting, characters of a string."""


@dataclass(frozen=True)
class Spec:
    """What a spec describes, which kind of it, and the options of that kind."""

    what: str
    """For messages: `encoder`, `model family`."""
    name: str
    args: dict[str, Any]

    @classmethod
    def read(cls, content: Any, what: str) -> Spec:
        """Read a mapping with `name` and, if there are options, `args`.

        Raises:
            UnsupportedModelError: it is something else.
        """
        if not (hasattr(content, "keys") and isinstance(content.get("name"), str)):
            raise UnsupportedModelError(
                f"The {what} spec is {content!r:.80}; it must be a mapping with 'name' and 'args'."
            )
        args = content.get("args") or {}
        if not hasattr(args, "keys"):
            raise UnsupportedModelError(
                f"The args of {what} {content['name']!r:.80} are {args!r:.80}, not a mapping."
            )
        return cls(what, content["name"], dict(args))

    def choose(self, known: Mapping[str, Built]) -> Built:
        """The entry of a table that the spec names.

        Raises:
            UnsupportedModelError: the table has no such entry.
        """
        if self.name not in known:
            raise UnsupportedModelError(
                f"Unknown {self.what} {self.name!r:.80}; this version supports "
                f"{', '.join(sorted(known))}."
            )
        return known[self.name]

    def build(self, make: Callable[..., Built], **given: Any) -> Built:
        """Call `make` with the options, and with `given`, which no spec can hold.

        Raises:
            UnsupportedModelError: `make` has no such option, or not with this value.
        """
        parameters = inspect.signature(make).parameters
        unknown = [key for key in self.args if key not in parameters or key in given]
        if unknown:
            raise UnsupportedModelError(
                f"The {self.what} {self.name!r:.80} has options that this version does not "
                f"support: {listing(unknown)}."
            )
        for key, value in self.args.items():
            expected = _expected(value, parameters[key].annotation)
            if expected:
                raise UnsupportedModelError(
                    f"{key} of the {self.what} {self.name!r:.80} is {value!r:.80}; "
                    f"it must be {expected}."
                )
        try:
            with named_torch_errors(f"building the {self.what}"):
                return make(**given, **self.args)
        except ClitDeployError:
            raise
        except (
            TypeError,
            LookupError,
            AttributeError,
            ValueError,
            ArithmeticError,
            RuntimeError,
        ) as error:
            raise UnsupportedModelError(
                f"The args of the {self.what} {self.name!r:.80} cannot be used: "
                f"{printable(error, 200)}."
            ) from error


def _expected(value: object, annotation: object) -> str:
    """What a value must be where its parameter has this annotation; empty if it is that."""
    whole = f"at least 1 and at most {MAX_INT}"
    if annotation == "int" and not _whole(value):
        return f"a whole number, {whole}"
    if annotation == "float" and not (type(value) in (int, float) and abs(value) <= MAX_FLOAT):  # type: ignore[arg-type]
        return f"a number of magnitude {MAX_FLOAT:g} or less"
    if annotation == "bool" and type(value) is not bool:
        return "true or false"
    if annotation == "str" and type(value) is not str:
        return "a string"
    if annotation == "Sequence[int]" and not (
        isinstance(value, (list, tuple)) and all(map(_whole, value))
    ):
        return f"a list of whole numbers, each {whole}"
    return ""


def _whole(value: object) -> bool:
    return type(value) is int and 1 <= value <= MAX_INT


def listing(names: Sequence[object]) -> str:
    """The first three of some names that come from a file, fit for a message."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(printable(name, 60) for name in names[:3]) + more


def check_plain(content: object) -> None:
    """Refuse a spec that is not made of a bounded number of plain values.

    Raises:
        UnsupportedModelError: it holds other objects, or is absurdly large or deep.
    """
    waiting, count = [(content, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if count > MAX_VALUES or depth > MAX_DEPTH:
            raise UnsupportedModelError(
                f"The model's args hold more than {MAX_VALUES} values, or more than {MAX_DEPTH} "
                "levels of them; no network needs so many."
            )
        if isinstance(value, dict):
            waiting += [(key, depth + 1) for key in value]
            waiting += [(entry, depth + 1) for entry in value.values()]
        elif isinstance(value, (list, tuple)):
            waiting += [(entry, depth + 1) for entry in value]
        elif not _plain(value):
            raise UnsupportedModelError(
                f"The model's args hold a {type(value).__name__} that is not a plain number, "
                f"string of at most {MAX_TEXT} characters, list or mapping."
            )


def _plain(value: object) -> bool:
    if type(value) is int:
        return value.bit_length() <= 64
    if type(value) is str:
        return len(value) <= MAX_TEXT
    return value is None or type(value) in (bool, float)
