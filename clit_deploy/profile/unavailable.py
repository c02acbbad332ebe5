"""Why figures are not there: every null of a row has its reason, under its dotted name."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clit_deploy.profile.records import Row

_NO_IDLE = "a rail was not read while the machine was idle"
_UNTOLD = "the system does not tell it"

USUAL = {
    "threads": "not asked for, so all",
    "drift": "ten runs are needed",
    "memory.machine_peak": _UNTOLD,
    "memory.headroom": _UNTOLD,
    "memory.device": "the runtime tells of no memory of a device",
    "power.rails.idle_w": _NO_IDLE,
    "power.idle_w": _NO_IDLE,
    "power.above_idle_joules_per_image": _NO_IDLE,
    "power.above_idle_joules_per_megapixel": _NO_IDLE,
    "conditions.clocks.governor": "the clock has none that can be read",
    "conditions.throttled": "nothing that tells of throttling can be read",
    "conditions.swap_start": _UNTOLD,
    "conditions.swap_end": _UNTOLD,
    "conditions.load_before": _UNTOLD,
    "conditions.gpu_load": "no sensor tells the load of a GPU",
}


def reasons(row: Row, own: Mapping[str, str]) -> dict[str, str]:
    """A reason for everything that is None in a row; `own` has those that the row alone knows."""
    known = {**USUAL, **own}
    return {name: known[name] for name in unavailable(row)}


def unavailable(value: Any, name: str = "") -> Iterator[str]:
    """The dotted names of the fields that are None; those of all items of a list are the same."""
    if value is None:
        yield name
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from unavailable(getattr(value, field.name), f"{name}.{field.name}".lstrip("."))
    elif isinstance(value, tuple):
        for item in value:
            yield from unavailable(item, name)
