"""A profile as a file: its JSON, written and read; see `records.py` for what a row has."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from clit_deploy.errors import ProfileError
from clit_deploy.plan.from_json import from_json
from clit_deploy.profile.records import Row  # noqa: TC001  (get_type_hints)

FORMAT = 1
"""Version of the format that this package writes and reads."""


@dataclass(frozen=True)
class Failure:
    """A row that was asked for and could not be measured."""

    asked: dict[str, str | int | float]
    reason: str


@dataclass(frozen=True)
class Machine:
    """What ran it."""

    module: str
    processor: str
    processors: int
    memory_bytes: int | None
    l4t: str | None
    jetpack: str | None
    power_mode: str | None
    driver: str | None
    kernel: str
    versions: dict[str, str]
    reasons: dict[str, str]


@dataclass(frozen=True)
class ImageInfo:
    """What was upscaled."""

    name: str
    height: int
    width: int
    sha256: str
    """Of its pixels, 8 bits a channel."""


@dataclass(frozen=True)
class Profile:
    """All that one call of `clit-deploy profile` measured."""

    started: str
    """UTC, ISO 8601."""
    machine: Machine
    picture: ImageInfo
    rows: tuple[Row, ...]
    failed: tuple[Failure, ...] = ()
    format: int = FORMAT

    def to_json(self) -> str:
        """The profile as JSON, with numbers as they were measured."""
        return json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, name: str = "The file") -> Profile:
        """Read a profile.

        Raises:
            ProfileError: it is none, is damaged, or comes from another version.
        """
        try:
            content = json.loads(text, parse_constant=_refuse)
            version, _ = content["format"], content["rows"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ProfileError(f"{name} is no profile; make one with 'profile --json'.") from error
        if type(version) is not int or version != FORMAT:
            newer = type(version) is int and version > FORMAT
            raise ProfileError(
                f"{name} has format version {version!r:.20}, and this clit-deploy reads {FORMAT}; "
                + ("install a newer clit-deploy." if newer else "measure it again.")
            )
        try:
            found = from_json(cls, content)
            found.check()
        except (TypeError, ValueError, RecursionError) as error:
            raise ProfileError(f"{name} is damaged ({error!s:.80}); measure it again.") from error
        return found

    def check(self) -> None:
        """Refuse figures that cannot have been measured.

        Raises:
            ValueError: there are some.
        """
        if not self.rows:
            raise ValueError("it has no rows")
        for row in self.rows:
            least = {
                "host_ms.p50": row.host_ms.p50,
                "memory.host_peak": row.memory.host_peak,
                "runs": min((ms for _, ms in row.runs), default=0),
                "output": min(row.output),
            }
            for name, value in least.items():
                if not value > 0:
                    raise ValueError(f"{name} is {value:g}")


def _refuse(constant: str) -> float:
    raise ValueError(constant)
