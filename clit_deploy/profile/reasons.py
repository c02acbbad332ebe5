"""Why figures are missing: a field that may be None is declared with the usual reason."""

from __future__ import annotations

from dataclasses import field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from clit_deploy.errors import ClitDeployError, error_message

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def or_none(why: str) -> Any:
    """A field that is None where it cannot be measured, usually for this reason."""
    return field(default=None, metadata={"why": why})


def reasons(record: Any, special: dict[str, str], inside: str = "") -> dict[str, str]:
    """Why fields of a record, and of the records in it, are None.

    Args:
        record: a dataclass.
        special: the reasons that are not the usual ones.
        inside: the name of the record itself, with a dot.

    Returns: reasons by field names with dots, like `conditions.throttled`.
    """
    found: dict[str, str] = {}
    for one in fields(record):
        value, name = getattr(record, one.name), inside + one.name
        if value is None:
            found[name] = special.get(name, one.metadata["why"])
        for part in value if isinstance(value, tuple) else (value,):
            if is_dataclass(part):
                found |= reasons(part, special, f"{name}.")
    return found


def attempt(name: str, special: dict[str, str], measure: Callable[[], T]) -> T | None:
    """What a function returns; None where it fails, which costs no other figure.

    The reason is kept in `special`, under the figure's name.
    """
    try:
        return measure()
    except (ClitDeployError, OSError) as error:
        special[name] = error_message(error)
        return None
