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
    """An `ImplicitModel` (`models/base.py`), as `module:Class`."""
    export: str
    """A `FamilyExport` (`export/family.py`)."""
    tables: str
    """A `Tables` (`tables/base.py`)."""

    def part(self, name: str) -> Any:
        """Import one of the parts."""
        return pkgutil.resolve_name(getattr(self, name))


def _own(model: str, export: str, tables: str) -> Family:
    package = __package__
    return Family(
        f"{package}.models.{model}", f"{package}.export.{export}", f"{package}.tables.{tables}"
    )


FAMILIES = {
    "clit": _own("clit:CLIT", "clit:ClitExport", "clit:ClitTables"),
    "liif": _own("liif:LIIF", "liif:LiifExport", "liif:LiifTables"),
    "lit": _own("lit:LIT", "lit:LitExport", "lit:LitTables"),
    "lte": _own("lte:LTE", "lte:LteExport", "lte:LteTables"),
}
"""By the name that checkpoints and plans give them."""
