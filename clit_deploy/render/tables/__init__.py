"""Host tables: the small arrays, exact in float64, that the graphs take besides the maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clit_deploy.errors import PlanError
from clit_deploy.families import FAMILIES

if TYPE_CHECKING:
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.render.tables.family_tables import Tables


def tables_of(plan: Plan) -> Tables:
    """The tables of a plan's family.

    Raises:
        PlanError: this version does not know the family.
    """
    family, manifest = plan.manifest.family, plan.manifest
    if family not in FAMILIES:
        raise PlanError(
            f"{plan.name} holds a model of family {family!r}; this version runs "
            f"{', '.join(sorted(FAMILIES))}."
        )
    tables: Tables = FAMILIES[family].part("tables")(
        manifest.hyperparameters, plan.arrays(manifest.tables)
    )
    return tables
