"""A profile as a file: its JSON, written and read. `records.py` defines the rows."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any

from clit_deploy.errors import ProfileError
from clit_deploy.plan.from_json import from_json
from clit_deploy.profile.records import Row  # noqa: TC001  (get_type_hints)

SCHEMA = 2
"""Version of the JSON that this package writes; it reads version 1 too."""
LARGEST_INT = 1 << 63


@dataclass(frozen=True)
class Failure:
    """A row that was requested and could not be measured."""

    requested: dict[str, str | int | float]
    reason: str


@dataclass(frozen=True)
class Machine:
    """The machine and its software."""

    module: str
    """The board's or the computer's name."""
    os: str
    cpu: str
    cpus: int
    memory_bytes: int | None
    l4t: str | None
    jetpack: str | None
    power_mode: str | None
    driver: str | None
    kernel: str
    versions: dict[str, str]
    unavailable: dict[str, str]


@dataclass(frozen=True)
class ImageInfo:
    """The image that was upscaled; `sha256` is of its pixels, 8 bits a channel."""

    name: str
    height: int
    width: int
    sha256: str


@dataclass(frozen=True)
class Profile:
    """All that one call of `clit-deploy profile` measured."""

    started: str
    """UTC, ISO 8601."""
    machine: Machine
    image: ImageInfo
    rows: tuple[Row, ...]
    failed: tuple[Failure, ...] = ()
    command: str = ""
    """The command line; empty if a program called `profile`."""
    schema: int = SCHEMA

    def to_json(self) -> str:
        """The profile as JSON, with numbers as they were measured."""
        return json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, name: str = "The file") -> Profile:
        """Read a profile of this schema or an earlier one.

        Raises:
            ProfileError: the file is not a profile, is damaged, or comes from a newer version.
        """
        try:
            content = json.loads(text, parse_constant=_refuse, parse_float=_float, parse_int=_int)
            version = content["schema"] if "schema" in content else content["format"]
            content["rows"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ProfileError(
                f"{name} is not a profile; make one with 'clit-deploy profile --json-file FILE'."
            ) from error
        if type(version) is not int or not 1 <= version <= SCHEMA:
            newer = type(version) is int and version > SCHEMA
            raise ProfileError(
                f"{name} has schema {_printable(version)!r:.20}, but this clit-deploy reads 1 to "
                f"{SCHEMA}; " + ("install a newer clit-deploy." if newer else "measure it again.")
            )
        try:
            content = _printable(content)
            found = from_json(cls, _upgraded(content) if version == 1 else content)
            _check(found)
        except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
            why = _printable(str(error))
            raise ProfileError(f"{name} is damaged ({why:.80}); measure it again.") from error
        return found


def _check(profile: Profile) -> None:
    """Refuse figures that cannot have been measured.

    Raises:
        ValueError: naming the first one.
    """
    if not profile.rows:
        raise ValueError("it has no rows")
    for row in profile.rows:
        positive = {
            "host_ms.p50": row.host_ms.p50,
            "memory.host_peak": row.memory.host_peak,
            "runs": min((ms for _, ms in row.runs), default=0),
            "output": min(row.output.width, row.output.height),
            "power.joules_per_image": row.power.joules_per_image if row.power else 1,
        }
        for name, value in positive.items():
            if not value > 0:
                raise ValueError(f"{name} is {value:g}")


def _upgraded(content: dict[str, Any]) -> dict[str, Any]:
    """A profile of schema 1 with the names of schema 2."""
    old = content["machine"]
    machine = {
        **old,
        "os": "",
        "cpu": old["processor"],
        "cpus": old["processors"],
        "unavailable": old["reasons"],
    }
    rows = [_upgraded_row(row) for row in content["rows"]]
    failed = [{**one, "requested": one["asked"]} for one in content.get("failed", [])]
    image = content["picture"]
    return {**content, "machine": machine, "image": image, "rows": rows, "failed": failed}


def _upgraded_row(row: dict[str, Any]) -> dict[str, Any]:
    height, width = row["output"]
    return {
        **row,
        "requested": row["asked"],
        "output": {"width": width, "height": height},
        "plan_sha256": None,
        "graphs": row["busy"],
        "unavailable": row["reasons"],
    }


def _printable(value: Any) -> Any:
    """The same JSON with texts that are safe to print: a file may come from anybody."""
    if isinstance(value, str):
        return "".join(letter if letter.isprintable() else " " for letter in value)
    if isinstance(value, dict):
        return {_printable(key): _printable(inner) for key, inner in value.items()}
    return [_printable(inner) for inner in value] if isinstance(value, list) else value


def _float(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


def _int(text: str) -> int:
    return int(text) if abs(int(text)) < LARGEST_INT else int(_refuse(text))


def _refuse(text: str) -> float:
    raise ValueError(f"{text:.20} is not a number that can be measured")
