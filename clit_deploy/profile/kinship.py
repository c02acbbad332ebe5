"""What two profiles have in common: what forbids to compare them, and what may explain a change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clit_deploy.profile.words import label

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clit_deploy.profile.records import Profile, Row

Pairs = list[tuple["Row", "Row"]]

SAME_MACHINE = ("module", "processor", "processors", "power_mode")
SYSTEM = ("l4t", "driver", "kernel")
CHOSEN = ("plan", "precision", "source", "runtime", "threads", "tile", "block")
"""Of a row: may differ, and is then told."""


def obstacles(before: Profile, after: Profile, pairs: Pairs, *, floating: bool) -> Iterator[str]:
    """Why figures of these profiles say nothing about each other.

    `floating` lets rows pass that are marked as not comparable.
    """
    for name, old, new in _differences(before.machine, after.machine, SAME_MACHINE):
        yield f"{name.replace('_', ' ')} {old} and {new}"
    if before.picture.sha256 != after.picture.sha256:
        yield f"different pictures, {before.picture.name} and {after.picture.name}"
    if not pairs:
        yield f"they have no row in common (first {_some(before)}; second {_some(after)})"
    for a, b in pairs:
        if a.output != b.output:
            yield f"{label(b)} makes pictures of different sizes"
    caveats = dict.fromkeys(text for pair in pairs for row in pair for text in row.caveats)
    if caveats and not floating:
        yield f"{'; '.join(caveats)} (--floating compares all the same)"


def notes(before: Profile, after: Profile, pairs: Pairs) -> Iterator[str]:
    """What else differs, and may explain what changed."""
    for name, old, new in _differences(before.machine, after.machine, SYSTEM):
        yield f"{name}: {old} became {new}"
    versions = before.machine.versions, after.machine.versions
    for name in sorted({*versions[0], *versions[1]}):
        was, now = (known.get(name, "none") for known in versions)
        if was != now:
            yield f"{name}: {was} became {now}"
    for a, b in pairs:
        for name, old, new in _differences(a, b, CHOSEN):
            yield f"{label(b)}, {name}: {old} became {new}"
    common = {label(row) for _, row in pairs}
    for row in (*before.rows, *after.rows):
        if label(row) not in common:
            yield f"{label(row)} is in one of them alone"


def _differences(a: Any, b: Any, names: Sequence[str]) -> Iterator[tuple[str, Any, Any]]:
    for name in names:
        old, new = getattr(a, name), getattr(b, name)
        if old != new:
            yield name, old, new


def _some(profile: Profile) -> str:
    return " and ".join(label(row) for row in profile.rows[:2])
