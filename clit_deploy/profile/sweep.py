"""What is to be measured, read from what people type: scales, sweeps, durations."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clit_deploy.config import Precision, RuntimeName
from clit_deploy.errors import ProfileError
from clit_deploy.profile.plan_variants import of_precision

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST_ROWS = 200
LARGEST_SCALE = 64
LONGEST = 4 * 3600
"""Seconds; all readings of the sensors are kept until the end."""
MOST_ITERATIONS = 1_000_000
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


@dataclass(frozen=True)
class Sweep:
    """A field of `Case` and the values that it takes."""

    key: str
    values: tuple[Any, ...]

    @classmethod
    def parse(cls, text: str) -> Sweep:
        """Read `tile=64,96,128`.

        Raises:
            ProfileError: an unknown key, or values that make no sense for it.
        """
        key, equals, rest = text.partition("=")
        key = key.strip()
        if key not in _READERS or not equals:
            raise ProfileError(f"{text!r} is no sweep; write KEY=VALUE,VALUE with a KEY of {KEYS}.")
        reader, wanted = _READERS[key]
        try:
            values = [reader(part.strip()) for part in rest.split(",")]
        except ValueError as error:
            raise ProfileError(
                f"{rest!r} does not suit the sweep of {key!r}: each value is {wanted}."
            ) from error
        if len(set(values)) < len(values):
            raise ProfileError(f"The sweep {text!r} names a value twice.")
        return cls(key, tuple(values))


def cases(
    base: Case, scales: Sequence[float], sweeps: Sequence[Sweep]
) -> list[tuple[dict[str, Any], Case]]:
    """Every combination: what was asked for (scale and swept values), and the case.

    A precision stands for the plan that has it, made from the same checkpoint as the base's plan
    and kept beside it.

    Raises:
        ProfileError: a key that is swept twice, a scale out of range, too many rows, or a precision
            that no plan has.
    """
    for scale in scales:
        _check(1 <= scale <= LARGEST_SCALE, f"The scale {scale:g} is not in 1..{LARGEST_SCALE}.")
    keys = [sweep.key for sweep in sweeps]
    _check(len(set(keys)) == len(keys), "A key is swept twice; give all its values at once.")
    _check(not {"plan", "precision"} <= set(keys), "Sweep either plan or precision, not both.")
    if "scale" not in keys:
        unique = tuple(dict.fromkeys(scales))
        sweeps = [Sweep("scale", unique), *sweeps]
    count = 1
    for sweep in sweeps:
        count *= len(sweep.values)
    _check(count <= MOST_ROWS, f"That makes {count} rows; sweep at most {MOST_ROWS} at once.")
    names = _names([value for sweep in sweeps for value in sweep.values if sweep.key == "plan"])
    found = []
    for values in itertools.product(*(sweep.values for sweep in sweeps)):
        chosen = dict(zip((sweep.key for sweep in sweeps), values, strict=True))
        asked = {k: names[v] if isinstance(v, Path) else v for k, v in chosen.items()}
        if precision := chosen.pop("precision", None):
            chosen["plan"] = of_precision(base.plan, Precision(precision))
        found.append((asked, replace(base, **chosen)))
    return found


def _names(plans: Sequence[Path]) -> dict[Path, str]:
    """What plans are called: their files' names, where that tells them apart, else as typed."""
    often = Counter(plan.name for plan in plans)
    return {plan: plan.name if often[plan.name] == 1 else plan.as_posix() for plan in plans}


def parse_duration(text: str) -> float:
    """`30s`, `10m`, `1.5h`, `500ms` or a number of seconds.

    Raises:
        ProfileError: not a duration, or none that makes sense.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|)\s*", text.lower())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not 0 < seconds <= LONGEST:
        raise ProfileError(f"{text!r} is no duration up to four hours; write it like 30s or 10m.")
    return seconds


def check_iterations(count: int) -> int:
    """The number itself, if it makes sense.

    Raises:
        ProfileError: it does not.
    """
    what = f"--iterations is {count}; a number from 1 to {MOST_ITERATIONS:,} is needed."
    _check(1 <= count <= MOST_ITERATIONS, what)
    return count


def _check(right: bool, what: str) -> None:
    if not right:
        raise ProfileError(what)


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


_READERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "plan": (_plan, "a .plan file"),
    "precision": (lambda text: Precision(text).value, f"one of {', '.join(Precision)}"),
    "scale": (_between(float, 1, LARGEST_SCALE), f"a number from 1 to {LARGEST_SCALE}"),
    "runtime": (lambda text: RuntimeName(text).value, "one of --runtime's names"),
    "threads": (_between(int, 1, 256), "a whole number from 1 to 256"),
    "tile": (_between(int, 8, LONGEST_SIDE), f"a whole number from 8 to {LONGEST_SIDE}"),
    "block": (_between(int, 8, LONGEST_SIDE), f"a whole number from 8 to {LONGEST_SIDE}"),
}
KEYS = ", ".join(_READERS)
