"""One limit of memory: what is allowed, or less where the machine has less left."""

import pytest

from clit_deploy.system import memory


@pytest.mark.parametrize(
    ("allowed", "available", "expected"),
    [(None, None, None), (500, None, 500), (None, 300, 400), (500, 300, 400), (350, 300, 350)],
)
def test_the_smaller_limit_counts(monkeypatch, allowed, available, expected):
    monkeypatch.setattr(memory, "resident", lambda: 100)
    monkeypatch.setattr(memory, "available", lambda: available)
    assert memory.limit(allowed) == expected
