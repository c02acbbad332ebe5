"""A profile as flat rows, for spreadsheets."""

from __future__ import annotations

import csv
import dataclasses
import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clit_deploy.profile.profile_file import Profile
    from clit_deploy.profile.records import Row


def to_csv(profile: Profile) -> str:
    """One line per row; what is unavailable is empty. Columns are the fields of the JSON file, with
    dots (`host_ms.p50`), and the mean milliseconds of each phase and of each kind of device time.
    """
    machine = {name: getattr(profile.machine, name) for name in ("module", "power_mode")}
    rows = [{**machine, "image": profile.image.name, **dict(_flat(row))} for row in profile.rows]
    out = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _flat(row: Row) -> Iterator[tuple[str, Any]]:
    for name, value in vars(row).items():
        if dataclasses.is_dataclass(value):
            inner = {f"{name}.{key}": one for key, one in vars(value).items()}
        else:
            inner = {name: value}
        yield from ((key, one) for key, one in inner.items() if not isinstance(one, (tuple, dict)))
    yield from ((f"phases.{phase.name}_ms", phase.mean_ms) for phase in row.phases)
    for kind in ("upload_ms", "compute_ms", "download_ms") if row.device else ():
        yield f"device.{kind}", sum(getattr(time, kind) for time in row.device or ())
