"""What the wheel holds, and that the README's commands are real."""

import re
import subprocess
import sys
import zipfile

from tests.helpers import ROOT


def test_the_wheel_holds_the_package_and_nothing_else(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    package = {
        p.relative_to(ROOT).as_posix()
        for p in (ROOT / "clit_deploy").rglob("*")
        if p.is_file() and p.suffix != ".pyc"
    }
    assert "clit_deploy/py.typed" in package
    assert package <= names
    others = {name for name in names - package if ".dist-info/" not in name}
    assert not others
    (info,) = {name.split("/")[0] for name in names - package}
    assert f"{info}/licenses/LICENSE" in names
    assert wheel.stat().st_size < 25_000_000


def test_options_in_the_readme_exist():
    text = (ROOT / "README.md").read_text()
    used = set(re.findall(r"clit-deploy (\w+)", text))
    files = sorted((ROOT / "clit_deploy" / "cli").glob("*.py"))
    source = "".join(path.read_text() for path in files)
    for command in used:
        assert f"\ndef {command}(" in source, command
    for option in set(re.findall(r"(?<![\w-])--[a-z][\w-]+", text)):
        name = option[2:].replace("-", "_")
        assert f"{name}:" in source or option in source, option


def test_no_module_is_long():
    for path in (ROOT / "clit_deploy").rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 400, path


def test_help_texts_hold_no_brackets():
    """Rich takes words in brackets for markup and leaves them out."""
    for path in (ROOT / "clit_deploy" / "cli").glob("*.py"):
        assert not re.findall(r'help="[^"]*\[[a-z#/@][^"]*"', path.read_text()), path
