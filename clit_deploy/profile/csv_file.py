"""A profile as flat rows, for spreadsheets."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clit_deploy.profile.profile_file import Profile
    from clit_deploy.profile.records import Row


def to_csv(profile: Profile) -> str:
    """One line a row; what is not known is empty."""
    rows = [_flat(profile, row) for row in profile.rows]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _flat(profile: Profile, row: Row) -> dict[str, Any]:
    found: dict[str, Any] = {
        "module": profile.machine.module,
        "power_mode": profile.machine.power_mode,
        "picture": profile.picture.name,
        "plan": row.plan,
        "precision": row.precision,
        "runtime": row.runtime,
        "scale": row.scale,
        "output_width": row.output[1],
        "output_height": row.output[0],
        "threads": row.threads,
        "tile": row.tile,
        "block": row.block,
        "open_ms": row.loading.open_ms,
        "first_run_ms": row.loading.first_run_ms,
    }
    found.update({f"{name}_ms": value for name, value in vars(row.host_ms).items()})
    found["runs"] = found.pop("count_ms")
    found["ms_per_megapixel"] = row.ms_per_megapixel
    found["images_per_second"] = row.images_per_second
    found.update({f"{phase.name}_ms": phase.mean_ms for phase in row.phases})
    for kind in ("upload_ms", "compute_ms", "download_ms") if row.device else ():
        found[f"device_{kind}"] = sum(getattr(time, kind) for time in row.device or ())
    found["host_peak_bytes"] = row.memory.host_peak
    if row.power:
        found["mean_w"], found["idle_w"] = row.power.mean_w, row.power.idle_w
        found["joules_per_image"] = row.power.joules_per_image
        found["joules_per_megapixel"] = row.power.joules_per_megapixel
    found["clocks"] = row.conditions.clock_state
    found["throttled"] = row.conditions.throttled
    found["psnr_db"] = row.quality.psnr_db if row.quality else None
    found["comparable"] = row.comparable
    return found
