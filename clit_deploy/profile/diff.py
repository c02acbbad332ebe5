"""Two profiles side by side: what changed by more than the noise of the runs.

A difference of medians *exceeds the noise* when it is larger than three standard errors, where the
error is the root of both runs' squared errors (`stats.standard_error`). It is a *regression* when
it also makes things worse by more than the threshold: noise says whether a difference is there, the
threshold whether anyone cares. What two processes on the same machine do to each other's memory
layout is in neither run's noise; the threshold has to be above that (about 2 % on a quiet machine).

Energy and memory are single figures without a noise of their own; they are held against the
threshold alone, but memory must change by `SLACK` bytes too, which allocators keep or give back as
they like; energy is judged only between totals of the same rails. Quality is a regression when it
falls by more than 1 dB to less than 60 dB (above that, differences are a sixteenth of a grey
level), and when there is none any more: a picture of NaN has none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clit_deploy.errors import NotComparableError, ProfileError
from clit_deploy.profile.comparability import failures, incompatibilities, key, notes, total_rails
from clit_deploy.profile.stats import CONFIDENCE_SIGMAS, standard_error
from clit_deploy.profile.text import label
from clit_deploy.render.budget import SLACK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clit_deploy.profile.profile_file import Profile
    from clit_deploy.profile.records import Row

INDISTINGUISHABLE_DB = 60.0
LOST_DB = 1.0
MOST_PERCENT = 1000.0


@dataclass(frozen=True)
class Change:
    """One figure of one row, before and after."""

    row: str
    name: str
    unit: str
    before: float
    after: float | None
    noise: float | None
    """Percent of `before` within which a difference says nothing; None for figures without, and
    for too few runs."""
    verdict: str
    """`worse`, `better`, or `same`: within the noise or the threshold. `told`: never judged."""

    @property
    def percent(self) -> float | None:
        """Of `before`; positive is more. None where there is no such thing."""
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
    """Hold the rows that both profiles have against each other.

    Args:
        before: the profile to hold against.
        after: the newer one.
        threshold: percent by which something must get worse to count.
        floating: compare runs that are marked as not comparable too.

    Raises:
        NotComparableError: another machine, power mode or picture, no common row, or a row that
            is not comparable and `floating` is not given.
        ProfileError: a threshold that makes no sense.
    """
    if not 0 < threshold <= MOST_PERCENT:
        raise ProfileError(f"The threshold is {threshold:g}; percent above 0 are needed, like 5.")
    pairs = _pairs(before, after)
    reasons = list(incompatibilities(before, after, pairs, floating=floating))
    if reasons:
        raise NotComparableError(f"The profiles cannot be compared: {'; '.join(reasons)}.")
    changes = [change for a, b in pairs for change in _changes(a, b, threshold)]
    changes += [
        Change(label(failure), "runs", "", len(row.runs), None, None, "worse")
        for row, failure in failures(before, after)
    ]
    return ProfileDiff(tuple(changes), tuple(notes(before, after, pairs)))


def _pairs(before: Profile, after: Profile) -> list[tuple[Row, Row]]:
    old = {key(row): row for row in before.rows}
    return [(old[key(row)], row) for row in after.rows if key(row) in old]


def _changes(a: Row, b: Row, threshold: float) -> Iterator[Change]:
    yield _latency(a, b, threshold)
    was = {phase.name: phase.p50_ms for phase in a.phases}
    for phase in b.phases:
        if phase.name in was:
            yield Change(label(b), phase.name, "ms", was[phase.name], phase.p50_ms, None, "told")
    held = float(a.memory.host_peak), float(b.memory.host_peak)
    slack = 100 * SLACK / held[0]
    yield Change(label(b), "memory", "B", *held, slack, _judged(*held, threshold, slack))
    if a.power and b.power:
        spent = a.power.joules_per_image, b.power.joules_per_image
        same = total_rails(a) == total_rails(b)
        verdict = _judged(*spent, threshold, 0.0) if same else "told"
        yield Change(label(b), "energy", "J", *spent, None, verdict)
    if a.quality:
        db = a.quality.psnr_db, b.quality.psnr_db if b.quality else None
        yield Change(label(b), "quality", "dB", *db, None, "worse" if _fell(*db) else "same")


def _latency(a: Row, b: Row, threshold: float) -> Change:
    old, new = a.host_ms.p50, b.host_ms.p50
    runs = [[ms for _, ms in row.runs] for row in (a, b)]
    noise = 100 * CONFIDENCE_SIGMAS * math.hypot(*map(standard_error, runs)) / old
    if math.isinf(noise):  # too few runs
        return Change(label(b), "latency", "ms", old, new, None, "told")
    return Change(label(b), "latency", "ms", old, new, noise, _judged(old, new, threshold, noise))


def _fell(before: float, after: float | None) -> bool:
    return after is None or (after < before - LOST_DB and after < INDISTINGUISHABLE_DB)


def _judged(old: float, new: float, threshold: float, noise: float) -> str:
    change = 100 * (new / old - 1)
    if abs(change) <= max(threshold, noise):
        return "same"
    return "worse" if change > 0 else "better"
