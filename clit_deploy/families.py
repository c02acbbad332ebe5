"""The model families: the network, the graphs and the tables of each, named in one place.

They are named and not imported, because the network and the graphs need torch and onnx, which a
machine that only runs plans does not have.
"""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Family:
    """The three parts of a family."""

    model: str
    """An `ImplicitModel` (`models/implicit_model.py`), as `module:Class`."""
    export: str
    """A `FamilyExport` (`export/family_export.py`)."""
    tables: str
    """A `Tables` (`render/tables/family_tables.py`)."""

    def part(self, name: str) -> Any:
        """Import one of the parts."""
        return pkgutil.resolve_name(getattr(self, name))


def _own(model: str, export: str, tables: str) -> Family:
    package = __package__
    return Family(
        f"{package}.models.{model}",
        f"{package}.export.{export}",
        f"{package}.render.tables.{tables}",
    )


FAMILIES = {
    "clit": _own("clit:CLIT", "clit_graphs:ClitExport", "clit_tables:ClitTables"),
    "liif": _own("liif:LIIF", "liif_graphs:LiifExport", "liif_tables:LiifTables"),
    "lit": _own("lit:LIT", "lit_graphs:LitExport", "lit_tables:LitTables"),
    "lte": _own("lte:LTE", "lte_graphs:LteExport", "lte_tables:LteTables"),
}
"""Families by their name in checkpoints and plans."""
