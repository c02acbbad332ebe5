"""Host tables: the small arrays, exact in float64, that the graphs take besides the maps.

A family is one class here, registered in `FAMILIES`; the scheduler knows only `Tables`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clit_deploy.errors import PlanError
from clit_deploy.tables.clit import ClitTables
from clit_deploy.tables.liif import LiifTables
from clit_deploy.tables.lte import LteTables

if TYPE_CHECKING:
    from collections.abc import Callable

    from clit_deploy.bundle import Plan
    from clit_deploy.tables.base import Tables

FAMILIES: dict[str, Callable[..., Tables]] = {
    "clit": ClitTables,
    "liif": LiifTables,
    "lte": LteTables,
}


def tables_of(plan: Plan) -> Tables:
    """The tables of a plan's family.

    Raises:
        PlanError: this version does not know the family.
    """
    family = plan.manifest.family
    if family not in FAMILIES:
        raise PlanError(
            f"{plan.name} holds a model of family {family!r}; this version runs "
            f"{', '.join(sorted(FAMILIES))}."
        )
    return FAMILIES[family](plan.manifest.hyperparameters, plan.arrays(plan.manifest.tables))
