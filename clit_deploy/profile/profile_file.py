"""A profile as a file: its JSON, written and read, and its CSV. `records.py` defines the rows."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from clit_deploy.errors import ProfileError, printable, quote
from clit_deploy.plan.from_json import from_json
from clit_deploy.plan.ranges import Length
from clit_deploy.profile.reasons import or_none
from clit_deploy.profile.records import Row  # noqa: TC001  (get_type_hints)

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = 2
"""Version of the JSON that this package writes; it reads version 1 too."""
RENAMED = {
    "picture": "image",
    "processor": "cpu",
    "processors": "cpus",
    "asked": "requested",
    "busy": "graphs",
    "reasons": "unavailable",
}
"""Names of schema 1, and those of schema 2."""
LARGEST_INT = 1 << 63
NO_JETSON = "this is not a Jetson (no /etc/nv_tegra_release)"


@dataclass(frozen=True)
class Failure:
    """A row that was requested and could not be measured."""

    requested: dict[str, str | int | float]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The machine and its software."""

    module: str
    """The board's or the computer's name."""
    os: str
    cpu: str
    cpus: int
    memory_bytes: int | None = or_none("no /proc/meminfo")
    l4t: str | None = or_none(NO_JETSON)
    jetpack: str | None = or_none(NO_JETSON)
    power_mode: str | None = or_none("only Jetsons have power modes")
    driver: str | None = or_none("no /proc/driver/nvidia/version")
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
    rows: Annotated[tuple[Row, ...], Length(1, 1 << 20)]
    failed: tuple[Failure, ...] = ()
    command: str = ""
    """The command line; empty if a program called `profile`."""
    schema: int = SCHEMA

    def to_json(self) -> str:
        """The profile as JSON, with numbers as they were measured."""
        return json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False) + "\n"

    def to_csv(self) -> str:
        """One line per row; what is unavailable is empty.

        Columns are the fields of the JSON file, with dots (`host_ms.p50`), and the mean
        milliseconds of each phase and of each kind of device time.
        """
        about = {name: getattr(self.machine, name) for name in ("module", "power_mode")}
        rows = [{**about, "image": self.image.name, **dict(_flat(row))} for row in self.rows]
        out = io.StringIO()
        columns = list(dict.fromkeys(key for row in rows for key in row))
        writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return out.getvalue()

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
                f"{name} has schema {quote(version):.20}, but this clit-deploy reads 1 to "
                f"{SCHEMA}; " + ("install a newer clit-deploy." if newer else "measure it again.")
            )
        try:
            return from_json(cls, _upgraded(content) if version == 1 else content)
        except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
            why = printable(error, 80)
            raise ProfileError(f"{name} is damaged ({why}); measure it again.") from error


def _flat(row: Row) -> Iterator[tuple[str, Any]]:
    for name, value in vars(row).items():
        inside = vars(value) if dataclasses.is_dataclass(value) else {"": value}
        for key, one in inside.items():
            if not isinstance(one, (tuple, dict)):
                yield f"{name}.{key}".rstrip("."), one
    yield from ((f"phases.{phase.name}_ms", phase.mean_ms) for phase in row.phases)
    for kind in ("upload_ms", "compute_ms", "download_ms") if row.device else ():
        yield f"device.{kind}", sum(getattr(time, kind) for time in row.device or ())


def _upgraded(content: dict[str, Any]) -> dict[str, Any]:
    """A profile of schema 1 as one of schema 2."""
    rows = []
    for row in content["rows"]:
        height, width = row["output"]
        rows.append({**_renamed(row), "output": {"width": width, "height": height}})
    return {
        **_renamed(content),
        "machine": {**_renamed(content["machine"]), "os": ""},
        "rows": rows,
        "failed": [_renamed(failure) for failure in content.get("failed", [])],
    }


def _renamed(record: dict[str, Any]) -> dict[str, Any]:
    return {RENAMED.get(name, name): value for name, value in record.items()}


def _float(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


def _int(text: str) -> int:
    return int(text) if abs(int(text)) < LARGEST_INT else int(_refuse(text))


def _refuse(text: str) -> float:
    raise ValueError(f"{text:.20} is not a number that can be measured")
