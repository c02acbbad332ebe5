"""A plan that travels to the workers, so that it is not needed on every node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clit_deploy.plan.plan_file import Plan
from clit_deploy.zoo.named_models import default_model, find_plan

if TYPE_CHECKING:
    from pathlib import Path


def ship(plan: str | Path | None = None) -> Plan:
    """Read a whole plan into memory. Ray copies it to each node once.

    Args:
        plan: a `.plan` file, or the name of a model of the package; None for the default model.

    Raises:
        MissingFileError, PlanError: the plan cannot be read.
    """
    opened = Plan.open(default_model().plan if plan is None else find_plan(plan))
    members = {name: opened.read(name) for name in opened.manifest.digests}
    return Plan(opened.manifest, members)
