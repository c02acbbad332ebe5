"""ONNX Runtime's telemetry stays off: nothing is written into HOME, and nothing is looked up."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import onnxruntime as ort
import pytest
from packaging.version import Version

from tests.helpers import ROOT

USE = """
import sys, time
import numpy as np
import clit_deploy
with clit_deploy.load(sys.argv[1], runtime="cpu") as up:
    up.upscale(np.zeros((9, 9, 3), np.uint8), scale=2)
time.sleep(float(sys.argv[2]))
"""

LOOK_UP_AFTER = 18
"""Seconds; ONNX Runtime waits for 15 before it looks for its vendor."""

has_telemetry = pytest.mark.skipif(
    Version(ort.__version__) < Version("1.29") or not sys.platform.startswith("linux"),
    reason="this ONNX Runtime has no telemetry",
)


def run(plan, home, *, wrapper=(), seconds=0.0, **variables):
    """Use the library in a process of its own, with a HOME of its own."""
    home.mkdir(exist_ok=True)
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    command = [*wrapper, sys.executable, "-c", USE, str(plan), str(seconds)]
    return subprocess.run(
        command,
        check=True,
        capture_output=True,
        cwd=ROOT,
        env={**kept, "HOME": str(home), **variables},
    )


def written(home):
    return sorted(path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file())


@has_telemetry
def test_nothing_is_written_unless_it_is_turned_on(honest_plan, tmp_path):
    run(honest_plan, tmp_path / "off")
    assert written(tmp_path / "off") == []
    run(honest_plan, tmp_path / "on", wrapper=without_network(), ORT_DISABLE_TELEMETRY="0")
    assert any("deviceid" in name for name in written(tmp_path / "on")), "this test sees nothing"


@pytest.mark.parametrize("module", ["clit_deploy.cli", "clit_deploy.upscaler", "benchmarks.int8"])
def test_every_entry_point_turns_it_off_before_the_import(module):
    code = (
        "import os, sys\n"
        "class Watch:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'onnxruntime': print(os.environ.get('ORT_DISABLE_TELEMETRY'))\n"
        "sys.meta_path.insert(0, Watch())\n"
        f"import {module}\n"
        "import onnxruntime\n"
    )
    kept = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT, env=kept
    )
    assert done.stdout.split() == ["1"]


@has_telemetry
@pytest.mark.slow
def test_nothing_is_looked_up(honest_plan, tmp_path):
    strace = shutil.which("strace")
    if not strace:
        pytest.skip("strace is not installed")
    wrapper = [*without_network(), strace, "-f", "-e", "trace=connect,sendto", "-o"]
    run(honest_plan, tmp_path / "h", wrapper=[*wrapper, tmp_path / "off"], seconds=LOOK_UP_AFTER)
    assert "AF_INET" not in (tmp_path / "off").read_text()


def without_network():
    """The command that takes the network away; the test is skipped where that is not allowed."""
    command = ["unshare", "-rn"]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip("'unshare -rn' is not allowed here")
    return command
