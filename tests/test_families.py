"""A family is three parts and one line: nothing else in the package knows families."""

import re
from pathlib import Path

import numpy as np
import pytest

import clit_deploy
from clit_deploy.families import FAMILIES, Family
from clit_deploy.render.layout import Layout
from tests.helpers import ROOT, photo, tiny_checkpoint, tiny_encoder

PACKAGE = ROOT / "clit_deploy"


def test_a_family_from_outside_exports_and_runs(monkeypatch, tmp_path):
    toy = Family("tests.toy.model:Toy", "tests.toy.export:ToyExport", "tests.toy.tables:ToyTables")
    monkeypatch.setitem(FAMILIES, "toy", toy)
    spec = {"name": "toy", "args": {"encoder_spec": tiny_encoder()}}
    plan = clit_deploy.export_checkpoint(tiny_checkpoint(tmp_path, spec))  # proves its graphs
    image = photo(20, 26)
    with clit_deploy.load(plan) as up:
        whole = up.upscale(image, scale=3, clip=False)
        got = up.query(image, np.array([[-0.3, 0.4], [0.9, -1]]), scale=3)
    assert got.shape == (2, 3)
    with clit_deploy.Upscaler(plan, layout=Layout(32, 16)) as up:
        assert np.abs(up.upscale(image, scale=3, clip=False) - whole).max() <= 1e-5


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_the_parts_are_there(name):
    for part in ("model", "export", "tables"):
        assert isinstance(FAMILIES[name].part(part), type)


def test_no_other_module_names_a_family():
    """`"clit"` and its like as values stand in the registry alone."""
    quoted = re.compile("|".join(f'"{name}"' for name in FAMILIES))
    found = [
        path.relative_to(PACKAGE)
        for path in PACKAGE.rglob("*.py")
        if quoted.search(path.read_text())
    ]
    assert found == [Path("families.py")]
