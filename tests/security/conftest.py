"""The plan that all tests here start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import clit_deploy
from tests.helpers import tiny_checkpoint, tiny_clit

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def honest_plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny plan as the export writes it, with every kind of array."""
    folder = tmp_path_factory.mktemp("honest")
    return clit_deploy.export_checkpoint(tiny_checkpoint(folder, tiny_clit(stages=2), "m.pth"))
