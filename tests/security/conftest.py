"""The plan that all tests here start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.helpers import exported_once, tiny_clit

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def honest_plan(shared_folder: Path) -> Path:
    """A tiny plan as the export writes it, with every kind of array."""
    return exported_once(shared_folder, tiny_clit(stages=2), "honest")
