"""The documentation: short, no dead links, and no word that the glossary replaced."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from tests.helpers import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGES = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")} - {ROOT / "docs" / "cli.md"})
"""All pages but the generated one; what it says is in the command line's strings."""

DEPRECATED = re.compile(
    r"\b(?:told|wish(?:es|ed)?|kinship|appetite|(?<!there )(?:is|are) no(?! \w+er\b)|"
    r"makes? no sense|of the deviation|knows no)\b",
    re.IGNORECASE,
)
"""Words that a stranger had to read twice: "480 is no size". CONTRIBUTING has the glossary.
"There is no driver" and "is no longer" are plain English, so they are allowed."""


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 800


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_resolve(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if path.startswith(("http://", "https://", "mailto:")) or path == "cli.md":
            continue
        found = page.parent / path if path else page
        if not found.exists() or (anchor and anchor not in anchors(found)):
            dead.append(target)
    assert dead == []


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and Python-Markdown both make them."""
    headings = re.findall(r"^#+ +(.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings)
    return {re.sub(r"\s+", "-", heading) for heading in plain}


def test_deprecated_words_are_gone():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {match[0]!r} in {text.strip()[:100]!r}"
        for path, line, text in prose()
        for match in DEPRECATED.finditer(text)
    ]
    assert not found, "\n" + "\n".join(found)


def prose() -> Iterator[tuple[Path, int, str]]:
    """Lines of the pages, and strings of the package: help, messages and docstrings."""
    for path in PAGES:
        for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            yield path, line, text
    for path in sorted((ROOT / "clit_deploy").rglob("*.md")):
        for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            yield path, line, text
    for path in sorted((ROOT / "clit_deploy").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path, node.lineno, " ".join(node.value.split())
