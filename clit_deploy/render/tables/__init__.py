"""Host tables: the small arrays, exact in float64, that the graphs take besides the maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clit_deploy.errors import PlanError, quote
from clit_deploy.families import FAMILIES

if TYPE_CHECKING:
    from clit_deploy.plan.plan_file import Plan
    from clit_deploy.render.tables.family_tables import Tables


def tables_of(plan: Plan) -> Tables:
    """The tables of a plan's family.

    Raises:
        PlanError: an unknown family, or hyperparameters or tables that it cannot have.
    """
    family, manifest = plan.manifest.family, plan.manifest
    if family not in FAMILIES:
        raise PlanError(
            f"{plan.name} holds a model of family {family!r}; this version runs "
            f"{', '.join(sorted(FAMILIES))}."
        )
    arrays = plan.arrays(manifest.tables)
    try:
        tables: Tables = FAMILIES[family].part("tables")(manifest.hyperparameters, arrays)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise PlanError(
            f"{plan.name} is damaged: its hyperparameters or tables are not those of the family "
            f"{family!r} ({quote(str(error))})."
        ) from error
    return tables
