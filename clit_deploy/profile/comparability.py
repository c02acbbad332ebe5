"""What two profiles have in common: what forbids to compare them, and what may explain a change."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from clit_deploy.profile.stats import LEAST_RUNS
from clit_deploy.profile.text import label

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from clit_deploy.profile.profile_file import Failure, Machine, Profile
    from clit_deploy.profile.records import Row

Pairs = list[tuple["Row", "Row"]]

SAME_MACHINE = ("module", "processor", "processors", "power_mode")
SYSTEM = ("l4t", "driver", "kernel")
CHOSEN = ("plan", "precision", "source", "runtime", "threads", "tile", "block")
"""Of a row: may differ, and is then told."""


def key(row: Row | Failure) -> Hashable:
    """What rows of two profiles are matched by: what was asked for."""
    return tuple(sorted(row.asked.items()))


def failures(before: Profile, after: Profile) -> list[tuple[Row, Failure]]:
    """Rows that were measured once and cannot be any more."""
    old = {key(row): row for row in before.rows}
    return [(old[key(failure)], failure) for failure in after.failed if key(failure) in old]


def total_rails(row: Row) -> set[str]:
    """The rails whose sum is the row's power."""
    return {rail.name for rail in row.power.rails if rail.total} if row.power else set()


def incompatibilities(
    before: Profile, after: Profile, pairs: Pairs, *, floating: bool
) -> Iterator[str]:
    """Why figures of these profiles say nothing about each other.

    `floating` lets rows pass that are marked as not comparable.
    """
    for name, old, new in _differences(before.machine, after.machine, SAME_MACHINE):
        yield f"{name.replace('_', ' ')} {old} and {new}"
    if before.picture.sha256 != after.picture.sha256:
        yield f"different pictures, {before.picture.name} and {after.picture.name}"
    if not pairs:
        yield f"they have no row in common (first {_some(before)}; second {_some(after)})"
    yield from (
        f"{count} rows of the {which} are called {name}"
        for which, profile in (("first", before), ("second", after))
        for name, count in Counter(map(label, profile.rows)).items()
        if count > 1
    )
    yield from (
        f"{label(b)} makes pictures of different sizes" for a, b in pairs if a.output != b.output
    )
    caveats = dict.fromkeys(text for pair in pairs for row in pair for text in row.caveats)
    if caveats and not floating:
        yield f"{'; '.join(caveats)} (--floating compares all the same)"


def notes(before: Profile, after: Profile, pairs: Pairs) -> Iterator[str]:
    """What else differs, and may explain what changed."""
    yield from _system(before.machine, after.machine)
    for a, b in pairs:
        for name, old, new in _differences(a, b, CHOSEN):
            yield f"{label(b)}, {name}: {old} became {new}"
        for text in _unjudged(a, b):
            yield f"{label(b)}, {text}"
    lost = failures(before, after)
    for _, failure in lost:
        yield f"{label(failure)} cannot be measured any more: {failure.reason}"
    common = {key(row) for row, _ in pairs} | {key(row) for row, _ in lost}
    for row in (*before.rows, *after.rows):
        if key(row) not in common:
            yield f"{label(row)} is in one of them alone"


def _system(before: Machine, after: Machine) -> Iterator[str]:
    for name, old, new in _differences(before, after, SYSTEM):
        yield f"{name}: {old} became {new}"
    for name in sorted({*before.versions, *after.versions}):
        was, now = (known.versions.get(name, "none") for known in (before, after))
        if was != now:
            yield f"{name}: {was} became {now}"


def _unjudged(a: Row, b: Row) -> Iterator[str]:
    """Figures of a pair that say nothing, or are not there any more."""
    fewest = min(len(a.runs), len(b.runs))
    if fewest < LEAST_RUNS:
        yield f"latency: {fewest} runs say nothing about their noise, so it is not judged"
    was, now = total_rails(a), total_rails(b)
    if was and now and was != now:
        rails = " and ".join(sorted(was)), " and ".join(sorted(now))
        yield f"energy: it was that of {rails[0]}, and is that of {rails[1]}; it is not judged"
    for name, figure in {"energy": "power", "quality": "quality"}.items():
        if getattr(a, figure) and not getattr(b, figure):
            why = b.reasons.get(figure, "no reason is known")
            yield f"{name}: there is none any more ({why})"


def _differences(a: Any, b: Any, names: Sequence[str]) -> Iterator[tuple[str, Any, Any]]:
    for name in names:
        old, new = getattr(a, name), getattr(b, name)
        if old != new:
            yield name, old, new


def _some(profile: Profile) -> str:
    return " and ".join(label(row) for row in profile.rows[:2])
