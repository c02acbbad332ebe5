"""What to measure, read from the command line: sweeps, durations, iterations."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clit_deploy.config import Precision, RuntimeName
from clit_deploy.errors import OptionError
from clit_deploy.profile.plan_variants import of_precision

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_ROWS = 200
LARGEST_SCALE = 64
LONGEST = 4 * 3600
"""Seconds; all readings of the sensors are kept until the end."""
MAX_ITERATIONS = 1_000_000
LONGEST_SIDE = 16384
"""Of tiles and blocks, in pixels."""

_SECONDS = {"ms": 1e-3, "s": 1, "": 1, "m": 60, "min": 60, "h": 3600}


@dataclass(frozen=True)
class Case:
    """One way to run; None leaves the choice to the plan and the machine."""

    plan: Path
    scale: float
    runtime: str = "auto"
    threads: int | None = None
    tile: int | None = None
    block: int | None = None
    device: str | None = None


@dataclass(frozen=True)
class Sweep:
    """A field of `Case` (or a precision, which stands for a plan) and the values that it takes."""

    key: str
    values: tuple[Any, ...]

    @classmethod
    def parse(cls, text: str) -> Sweep:
        """Read `tile=64,96,128`.

        Raises:
            OptionError: an unknown key, or values that are not valid for it.
        """
        key, equals, rest = text.partition("=")
        key = key.strip()
        if key not in _READERS or not equals:
            raise OptionError(
                f"{text!r:.80} is not a valid sweep; write KEY=VALUE,VALUE with a KEY of {KEYS}."
            )
        reader, wanted = _READERS[key]
        try:
            values = [reader(part.strip()) for part in rest.split(",")]
        except ValueError as error:
            raise OptionError(
                f"{rest!r:.80} is not valid for a sweep of {key}: each value is {wanted}."
            ) from error
        if len(set(values)) < len(values):
            raise OptionError(f"The sweep {text!r:.80} has a value twice; remove one.")
        return cls(key, tuple(values))


def cases(
    base: Case, scales: Sequence[float], sweeps: Sequence[Sweep]
) -> list[tuple[dict[str, Any], Case]]:
    """Every combination: what was requested (scale and swept values), and the case.

    A precision stands for the plan of that precision, made from the same checkpoint as the base's
    plan and kept beside it.

    Raises:
        OptionError: a key that is swept twice, a scale out of range, or too many rows.
        ProfileError: a precision without exactly one plan.
    """
    keys = _checked_keys(sweeps)
    for scale in scales:
        if not 1 <= scale <= LARGEST_SCALE:
            raise OptionError(f"The scale {scale:g} is not valid; give 1 to {LARGEST_SCALE}.")
    if "scale" not in keys:
        sweeps = [Sweep("scale", tuple(dict.fromkeys(scales))), *sweeps]
    count = math.prod(len(sweep.values) for sweep in sweeps)
    if count > MAX_ROWS:
        raise OptionError(f"This makes {count} rows; sweep at most {MAX_ROWS} at once.")
    names = _names([value for sweep in sweeps for value in sweep.values if sweep.key == "plan"])
    found = []
    for values in itertools.product(*(sweep.values for sweep in sweeps)):
        chosen = dict(zip((sweep.key for sweep in sweeps), values, strict=True))
        requested = {k: names[v] if isinstance(v, Path) else v for k, v in chosen.items()}
        if precision := chosen.pop("precision", None):
            chosen["plan"] = of_precision(base.plan, Precision(precision))
        found.append((requested, replace(base, **chosen)))
    return found


def _checked_keys(sweeps: Sequence[Sweep]) -> set[str]:
    keys = {sweep.key for sweep in sweeps}
    if len(keys) < len(sweeps):
        raise OptionError("A key is swept twice; give all its values in one --sweep.")
    if {"plan", "precision"} <= keys:
        raise OptionError("Sweeps of plan and precision cannot be combined; give one of them.")
    return keys


def _names(plans: Sequence[Path]) -> dict[Path, str]:
    """Names of plans: those of their files where these are distinct, else the paths as typed."""
    often = Counter(plan.name for plan in plans)
    return {plan: plan.name if often[plan.name] == 1 else plan.as_posix() for plan in plans}


def parse_duration(text: str) -> float:
    """`30s`, `10m`, `1.5h`, `500ms` or a number of seconds, as seconds.

    Raises:
        OptionError: not a duration, or out of range.
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|s|min|m|h|)\s*", text.lower())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not 0 < seconds <= LONGEST:
        raise OptionError(
            f"{text!r:.80} is not a valid duration; write up to four hours, like 30s or 10m."
        )
    return seconds


def check_iterations(count: int) -> int:
    """The number itself.

    Raises:
        OptionError: it is out of range.
    """
    if not 1 <= count <= MAX_ITERATIONS:
        raise OptionError(f"--iterations {count} is not valid; give 1 to {MAX_ITERATIONS:,}.")
    return count


def _between(kind: Callable[[str], Any], least: float, most: float) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = kind(text)
        if not least <= value <= most:
            raise ValueError
        return value

    return read


def _plan(text: str) -> Path:
    if not text:
        raise ValueError
    return Path(text)


_SIDE = _between(int, 8, LONGEST_SIDE), f"a whole number from 8 to {LONGEST_SIDE}"
_READERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "plan": (_plan, "a .plan file"),
    "precision": (lambda text: Precision(text).value, f"one of {', '.join(Precision)}"),
    "scale": (_between(float, 1, LARGEST_SCALE), f"a number from 1 to {LARGEST_SCALE}"),
    "runtime": (lambda text: RuntimeName(text).value, f"one of {', '.join(RuntimeName)}"),
    "threads": (_between(int, 1, 256), "a whole number from 1 to 256"),
    "tile": _SIDE,
    "block": _SIDE,
}
KEYS = ", ".join(_READERS)
