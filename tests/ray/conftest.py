from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import pytest

from tests.ray.namespaces import Nodes, two_nodes, why_not

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """One cluster for a file of tests."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with two_nodes(tmp_path_factory.mktemp("nodes")) as cluster:
        yield cluster
