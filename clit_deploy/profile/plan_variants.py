"""Plans of other precisions that were made from the same checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clit_deploy.config import Precision
from clit_deploy.errors import PlanError, ProfileError
from clit_deploy.plan.plan_file import Plan

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_MADE_BY = {
    Precision.FP32: "clit-deploy export CHECKPOINT",
    Precision.FP16: "clit-deploy export CHECKPOINT --precision fp16",
    Precision.INT8: "clit-deploy calibrate PLAN",
    Precision.INT8_FP16: "clit-deploy calibrate PLAN --precision int8-fp16",
}


def of_precision(plan: Path, precision: Precision) -> Path:
    """The plan of a precision: the given one, or one beside it of the same checkpoint.

    Raises:
        MissingFileError, PlanError: the plan itself cannot be read.
        ProfileError: there is none, or there are several.
    """
    if Plan.open(plan).manifest.precision == precision.value:
        return plan
    found = plans_of_same_checkpoint(plan, precision)
    if len(found) == 1:
        return found[0]
    if not found:
        raise ProfileError(
            f"There is no {precision.value} plan of the same checkpoint beside {plan.name}; make "
            f"one there with {_MADE_BY[precision]}."
        )
    names = ", ".join(path.name for path in found)
    raise ProfileError(
        f"There are several {precision.value} plans of the same checkpoint beside {plan.name}: "
        f"{names}. Sweep plan=A.plan,B.plan instead."
    )


def plans_of_same_checkpoint(plan: Path, precision: Precision) -> list[Path]:
    """Plans of a precision from the same checkpoint in the same folder, by name; links to a plan
    count once."""
    beside = sorted({path.resolve() for path in plan.parent.glob("*.plan")})
    return matching(beside, Plan.open(plan), precision)


def matching(paths: Iterable[Path], plan: Plan, precision: Precision) -> list[Path]:
    """Those of some plans that have a precision, and the checkpoint of `plan`."""
    wanted, found = (precision.value, plan.manifest.source.sha256), []
    for path in paths:
        try:
            manifest = Plan.open(path).manifest
        except (PlanError, OSError):  # not ours, or another version's
            continue
        if (manifest.precision, manifest.source.sha256) == wanted:
            found.append(path)
    return found
