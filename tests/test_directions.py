"""The rooms of the package, and which of them each one may import.

The table is the whole architecture of imports. A new arrow fails here: either the code moves, or
the table gets a line that somebody has to defend.
"""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

import clit_deploy

ROOT = Path(clit_deploy.__file__).parent

LOW = {"errors", "config", "grid", "system", "plan", "images", "runtimes"}

MAY_IMPORT: dict[str, set[str]] = {
    "_version": set(),
    "errors": set(),
    "config": {"errors"},
    # Names the parts of each family as strings: models, export and render.tables.
    "families": set(),
    "grid": {"errors"},
    "drawings": set(),
    "system": {"errors"},
    "plan": {"errors", "grid", "system"},
    "images": {"errors", "config", "grid", "system"},
    "runtimes": {"errors", "config", "system", "plan"},
    "zoo": {"errors", "system"},
    "render": LOW | {"families"},
    "engines": LOW | {"render"},
    "encoded_image": LOW | {"render"},
    "upscaler": LOW | {"render", "engines", "zoo", "encoded_image"},
    "quality": LOW | {"render", "engines", "upscaler"},
    # Rows that a run keeps say which version computed them.
    "tasks": LOW | {"render", "engines", "upscaler", "quality", "zoo", "_version"},
    "passes": {"errors", "plan"},
    "calibration": LOW | {"render", "upscaler", "quality", "passes", "drawings"},
    "models": {"errors", "families", "grid", "system"},
    "export": {"errors", "config", "grid", "system", "plan", "families", "_version"}
    | {"models", "passes", "quality", "calibration"},
    # A run's decibels are those of `evaluate`.
    "training": {"errors", "families", "grid", "system", "images", "models", "quality"},
    # A profile states the version that made it.
    "profile": LOW | {"render", "engines", "upscaler", "quality", "tasks", "_version"},
    # Plans travel by name as well, and all nodes need one version.
    "ray": LOW | {"upscaler", "tasks", "zoo", "_version"},
    "viewer": LOW | {"render", "upscaler", "encoded_image", "tasks"},
    # What the server runs; the repository says which version wrote it.
    "triton": LOW | {"render", "upscaler", "tasks", "_version"},
    "cli": LOW
    | {"engines", "upscaler", "quality", "tasks", "profile", "calibration", "export", "training"}
    | {"viewer", "ray", "triton"}
    | {"_version", "zoo"},
    # The surface of the package: all but the errors is imported when used.
    "__init__": {"errors", "_version", "encoded_image", "upscaler", "models", "export", "viewer"},
    "__main__": {"cli", "system"},
}

MODULES = {
    ".".join(["clit_deploy", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(
        ".__init__"
    ): path
    for path in sorted(ROOT.rglob("*.py"))
}


def imports(name: str) -> set[str]:
    """The modules of the package that a module imports: anywhere in it, for types alone too."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in MODULES else node.module or "")
    return {target for target in found if target in MODULES and target != name}


def room(name: str) -> str:
    """The room of a module; files at the root are rooms of their own."""
    return [*name.split("."), "__init__"][1]


@pytest.mark.parametrize("name", MODULES)
def test_no_import_leaves_the_table(name):
    for target in imports(name):
        here, there = room(name), room(target)
        assert here == there or there in MAY_IMPORT[here], f"{name} imports {target}"


def test_the_table_names_every_room():
    assert set(MAY_IMPORT) == {room(name) for name in MODULES}


def test_the_table_has_no_circle():
    order(MAY_IMPORT)


def test_no_modules_import_each_other_not_even_for_types():
    order({name: imports(name) for name in MODULES})


def order(graph: dict[str, set[str]]) -> None:
    """Take away whatever imports nothing that is left, until nothing is left."""
    left = {name: set(targets) for name, targets in graph.items()}
    while left:
        free = {name for name, targets in left.items() if not targets & set(left)}
        assert free, f"a circle of imports among {sorted(left)}"
        left = {name: targets for name, targets in left.items() if name not in free}


@pytest.mark.parametrize("folder", ["benchmarks", "train"])
def test_what_is_beside_the_package_does_not_stand_on_tests(folder):
    for path in (ROOT.parent / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not {"tests", "pytest"} & {name.split(".")[0] for name in found}, path


def test_the_root_is_small_and_file_names_mean_one_thing():
    assert len(list(ROOT.glob("*.py"))) <= 10
    names = Counter(path.name for path in ROOT.rglob("*.py") if path.name != "__init__.py")
    assert {name for name, count in names.items() if count > 1} == set()
