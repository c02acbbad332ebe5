"""JSON on stdout: one document for each command, with named fields and a schema number.

Sizes are named (`width`, `height`), never a bare pair, whose order nobody could know. A command
that fails prints a document too: what it had finished, and an `error` object. `run` prints one
document, on one line, for each image as it is finished.
"""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

from clit_deploy.cli.terminal import print_result

SCHEMA = 1
"""Raised when a field is renamed, removed, or changes its meaning."""

SIZES = {"size": "", "image": "image_"}
"""Fields that hold height and width, and what comes before their names."""

_finished: dict[str, Any] = {}
_indent: int | None = 1


def one_line_each() -> None:
    """Print every document of this command on one line, so that there may be several."""
    global _indent
    _indent = None


def keep(**fields: Any) -> None:
    """Fields that are printed beside the error if the command fails; lists may still grow."""
    _finished.update(fields)


def print_document(**fields: Any) -> None:
    """Print the result of a command."""
    print_result(_text(fields))


def print_failure(error: BaseException, message: str, code: int) -> None:
    """Print why a command failed, and what it had finished."""
    print_result(_text({**_finished, "error": failure(error, message, code)}))


def failure(error: BaseException, message: str, code: int) -> dict[str, Any]:
    """An error as an object."""
    kind = type(error).__name__.lstrip("_")
    return {"type": kind, "message": message, "exit_code": int(code)}


def _text(fields: dict[str, Any]) -> str:
    return json.dumps({"schema": SCHEMA, **plain(fields)}, indent=_indent, allow_nan=False)


def plain(value: Any) -> Any:
    """Dataclasses, tuples and sizes as JSON has them; numbers that are not finite become null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain({f.name: getattr(value, f.name) for f in dataclasses.fields(value)})
    if isinstance(value, dict):
        named: dict[str, Any] = {}
        for key, item in value.items():
            if key in SIZES and isinstance(item, (list, tuple)) and len(item) == 2:
                named[f"{SIZES[key]}width"], named[f"{SIZES[key]}height"] = item[1], item[0]
            else:
                named[str(key)] = plain(item)
        return named
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
