"""Two profiles side by side: whether they are comparable, and what changed beyond the noise.

A difference of medians *exceeds the noise* when it is larger than three standard errors, where the
error is the root of both runs' squared errors (`stats.standard_error`). It is a *regression* when
it also makes things worse by more than the threshold: noise says whether a difference exists, the
threshold whether it matters. Two processes on the same machine differ by their memory layout too,
which neither run's noise shows; the threshold has to be above that (about 2 % on a quiet machine).

Energy and memory are single figures without noise of their own. They are compared with the
threshold alone, but memory must also change by `SLACK` bytes, which allocators keep or give back;
energy is judged only between totals of the same rails. Quality is a regression when it falls by
more than 1 dB to less than 60 dB (above that, differences are a sixteenth of a gray level), and
when it is gone: an image with NaN has none.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from clit_deploy.errors import NotComparableError, OptionError
from clit_deploy.profile.stats import CONFIDENCE_SIGMAS, MIN_RUNS, standard_error
from clit_deploy.profile.text import label, why_missing
from clit_deploy.render.budget import SLACK

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

    from clit_deploy.profile.profile_file import Failure, Machine, Profile
    from clit_deploy.profile.records import Row

    Pairs = list[tuple[Row, Row]]
    Lost = list[tuple[Row, Failure]]

INDISTINGUISHABLE_DB = 60.0
LOST_DB = 1.0
LARGEST_THRESHOLD = 1000.0

SAME_MACHINE = {
    "module": "machine",
    "cpu": "CPU",
    "cpus": "number of CPU cores",
    "power_mode": "power mode",
}
"""Of the machine: must be equal."""
SYSTEM = ("os", "l4t", "driver", "kernel")
CHOSEN = ("plan", "precision", "source", "runtime", "threads", "tile", "block")
"""Of a row: may differ, and is then noted."""


@dataclass(frozen=True)
class Change:
    """One figure of one row, before and after."""

    row: str
    name: str
    unit: str
    before: float
    after: float | None
    noise: float | None
    """Percent of `before` within which a difference means nothing; None for figures without noise,
    and for too few runs."""
    verdict: str
    """`worse`, `better`, `same` (within the noise or the threshold) or `not judged`."""

    @property
    def percent(self) -> float | None:
        """Change in percent of `before`; positive is more. None where it is undefined."""
        return 100 * (self.after / self.before - 1) if self.before and self.after else None


@dataclass(frozen=True)
class ProfileDiff:
    """All changes, and what else differs that may explain them."""

    changes: tuple[Change, ...]
    notes: tuple[str, ...]

    @property
    def regressed(self) -> bool:
        """Whether anything got worse."""
        return any(change.verdict == "worse" for change in self.changes)


def compare_profiles(
    before: Profile, after: Profile, threshold: float, *, floating: bool = False
) -> ProfileDiff:
    """Compare the rows that both profiles have.

    Args:
        before: the profile to compare with.
        after: the newer one.
        threshold: percent by which something must get worse to count.
        floating: compare runs that are marked as not comparable too.

    Raises:
        NotComparableError: another machine, power mode or image, no common row, or a row that
            is not comparable while `floating` is False.
        OptionError: the threshold is out of range.
    """
    if not 0 < threshold <= LARGEST_THRESHOLD:
        raise OptionError(
            f"The threshold {threshold:g} is not valid; give percent above 0 and up to "
            f"{LARGEST_THRESHOLD:g}, like 5."
        )
    old = {_key(row): row for row in before.rows}
    pairs = [(old[_key(row)], row) for row in after.rows if _key(row) in old]
    lost = [(old[_key(failure)], failure) for failure in after.failed if _key(failure) in old]
    reasons = list(_obstacles(before, after, pairs, floating=floating))
    if reasons:
        raise NotComparableError(f"The profiles are not comparable: {'; '.join(reasons)}.")
    changes = [change for a, b in pairs for change in _changes(a, b, threshold)]
    changes += [
        Change(label(failure), "runs", "", len(row.runs), None, None, "worse")
        for row, failure in lost
    ]
    return ProfileDiff(tuple(changes), tuple(_notes(before, after, pairs, lost)))


def _key(row: Row | Failure) -> Hashable:
    return tuple(sorted(row.requested.items()))


def _obstacles(before: Profile, after: Profile, pairs: Pairs, *, floating: bool) -> Iterator[str]:
    """Why the figures of these profiles are not comparable."""
    for name, old, new in _differences(before.machine, after.machine, SAME_MACHINE):
        yield f"the {SAME_MACHINE[name]} differs, {old} and {new}"
    if before.image.sha256 != after.image.sha256:
        yield f"the images differ, {before.image.name} and {after.image.name}"
    if not pairs:
        first, second = (" and ".join(map(label, p.rows[:2])) for p in (before, after))
        yield f"no row is in both (the first has {first}; the second has {second})"
    yield from _ambiguous("first", before)
    yield from _ambiguous("second", after)
    yield from (
        f"the outputs of {label(b)} differ in size, {a.output} and {b.output}"
        for a, b in pairs
        if a.output != b.output
    )
    caveats = dict.fromkeys(text for pair in pairs for row in pair for text in row.caveats)
    if caveats and not floating:
        yield f"{'; '.join(caveats)} (--floating compares them anyway)"


def _ambiguous(which: str, profile: Profile) -> Iterator[str]:
    for name, count in Counter(map(label, profile.rows)).items():
        if count > 1:
            yield f"{count} rows of the {which} are named {name}"


def _notes(before: Profile, after: Profile, pairs: Pairs, lost: Lost) -> Iterator[str]:
    """What else differs, and may explain what changed."""
    yield from _system(before.machine, after.machine)
    for a, b in pairs:
        for name, old, new in _differences(a, b, CHOSEN):
            yield f"{label(b)}, {name}: {old} became {new}"
        for text in _not_judged(a, b):
            yield f"{label(b)}, {text}"
    for _, failure in lost:
        yield f"{label(failure)} cannot be measured any more: {failure.reason}"
    common = {_key(row) for row, _ in (*pairs, *lost)}
    for row in (*before.rows, *after.rows):
        if _key(row) not in common:
            yield f"{label(row)} is in only one of them"


def _system(before: Machine, after: Machine) -> Iterator[str]:
    for name, old, new in _differences(before, after, SYSTEM):
        if old != "":  # schema 1 does not have the OS
            yield f"{name}: {old} became {new}"
    for name in sorted({*before.versions, *after.versions}):
        was, now = (known.versions.get(name, "none") for known in (before, after))
        if was != now:
            yield f"{name}: {was} became {now}"


def _not_judged(a: Row, b: Row) -> Iterator[str]:
    """Figures of a pair that cannot be judged, or are gone."""
    fewest = min(len(a.runs), len(b.runs))
    if fewest < MIN_RUNS:
        yield f"latency: {fewest} runs do not show their own noise, so it is not judged"
    was, now = _total_rails(a), _total_rails(b)
    if was and now and was != now:
        yield f"energy: measured on {was} before and on {now} now, so it is not judged"
    for name, figure in {"energy": "power", "quality": "quality"}.items():
        if getattr(a, figure) and not getattr(b, figure):
            yield f"{name}: no longer available ({why_missing(b, figure)})"


def _total_rails(row: Row) -> str:
    """The rails whose sum is the row's power."""
    rails = row.power.rails if row.power else ()
    return " and ".join(sorted(rail.name for rail in rails if rail.total))


def _differences(a: Any, b: Any, names: Iterable[str]) -> Iterator[tuple[str, Any, Any]]:
    for name in names:
        old, new = getattr(a, name), getattr(b, name)
        if old != new:
            yield name, old, new


def _changes(a: Row, b: Row, threshold: float) -> Iterator[Change]:
    def change(name: str, unit: str, old: float, new: float | None, noise: float | None) -> Change:
        return Change(label(b), name, unit, old, new, noise, "not judged")

    latency = change("latency", "ms", a.host_ms.p50, b.host_ms.p50, _noise(a, b))
    yield latency if latency.noise is None else _judged(latency, threshold)
    was = {phase.name: phase.p50_ms for phase in a.phases}
    for phase in b.phases:
        if phase.name in was:
            yield change(phase.name, "ms", was[phase.name], phase.p50_ms, None)
    held = float(a.memory.host_peak), float(b.memory.host_peak)
    yield _judged(change("memory", "B", *held, 100 * SLACK / held[0]), threshold)
    if a.power and b.power:
        spent = a.power.joules_per_image, b.power.joules_per_image
        energy = change("energy", "J", *spent, None)
        yield _judged(energy, threshold) if _total_rails(a) == _total_rails(b) else energy
    if a.quality:
        db = a.quality.psnr_db, b.quality.psnr_db if b.quality else None
        quality = change("quality", "dB", *db, None)
        yield replace(quality, verdict="worse" if _fell(*db) else "same")


def _noise(a: Row, b: Row) -> float | None:
    """Percent within which the medians of two rows mean the same; None for too few runs."""
    errors = [standard_error([ms for _, ms in row.runs]) for row in (a, b)]
    noise = 100 * CONFIDENCE_SIGMAS * math.hypot(*errors) / a.host_ms.p50
    return None if math.isinf(noise) else noise


def _fell(before: float, after: float | None) -> bool:
    return after is None or (after < before - LOST_DB and after < INDISTINGUISHABLE_DB)


def _judged(change: Change, threshold: float) -> Change:
    """A change of a figure of which less is better, with its verdict."""
    percent = change.percent or 0.0
    if abs(percent) <= max(threshold, change.noise or 0.0):
        return replace(change, verdict="same")
    return replace(change, verdict="worse" if percent > 0 else "better")
