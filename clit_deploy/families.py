"""The model families: for each its network, its graph form and its tables, named in one place.

They are named, not imported: the network and the graph form need torch and onnx, which a machine
that only runs plans does not have.
"""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Family:
    """Where the three parts of a family are."""

    model: str
    """An `ImplicitModel` (`models/base.py`)."""
    export: str
    """A `FamilyExport` (`export/family.py`)."""
    tables: str
    """A `Tables` (`tables/base.py`)."""

    def part(self, name: str) -> Any:
        """Import one of the parts."""
        return pkgutil.resolve_name(f"clit_deploy.{getattr(self, name)}")


FAMILIES = {
    "clit": Family("models.clit:CLIT", "export.clit:ClitExport", "tables.clit:ClitTables"),
    "liif": Family("models.liif:LIIF", "export.liif:LiifExport", "tables.liif:LiifTables"),
    "lit": Family("models.lit:LIT", "export.lit:LitExport", "tables.lit:LitTables"),
    "lte": Family("models.lte:LTE", "export.lte:LteExport", "tables.lte:LteTables"),
}
"""By the name that checkpoints and plans give them."""
