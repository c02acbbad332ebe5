from __future__ import annotations

import shutil

import pytest

from clit_deploy.system import cache
from tests.fakes.machine import Machine


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    """Every test begins as a new user."""
    monkeypatch.setenv("CLIT_DEPLOY_CACHE", str(tmp_path / "cache"))
    return cache.folder()


@pytest.fixture
def machine():
    return Machine.make()


@pytest.fixture
def path(plans, tmp_path):
    """A plan of its own, to write into."""
    return shutil.copy(plans["liif-plain"], tmp_path / "model.plan")
