"""Commands that a signal stops at a random moment: the right exit code, soon, and nothing changed.

`CLIT_DEPLOY_SIGNALS` is how many signals each command gets, 1 by default; the moments come from
fixed seeds. A command that finishes before its signal has done its work. The promise of two seconds
is measured on a quiet machine, where the variable is set; otherwise, the limit finds what hangs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clit_deploy.upscaler import default_plan
from tests.helpers import ROOT, photo, tiny_checkpoint, tiny_clit
from tests.training.test_training import TOML

MEASURED = os.environ.get("CLIT_DEPLOY_SIGNALS")
TRIES = int(MEASURED or "1")
STOP = 2.0 if MEASURED else 10.0
BUILD_STOP = 10.0
"""Seconds, inside a native build step too."""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def run(folder: Path) -> list[str]:
    Image.fromarray(photo(96, 96)).save(folder / "image.png")
    return ["run", "-e", str(default_plan()), "image.png", "--scale", "16", "--runtime", "cpu"]


def build(folder: Path) -> list[str]:
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("TensorRT-RTX, which builds without a GPU, is not installed")
    shutil.copy(default_plan(), folder / "model.plan")
    return ["build", "model.plan", "--runtime", "tensorrt-rtx", "--compute-capability", "8.6"]


def export(folder: Path) -> list[str]:
    tiny_checkpoint(folder, tiny_clit(), "model.pth")
    return ["export", "model.pth"]


def calibrate(folder: Path) -> list[str]:
    return ["calibrate", str(default_plan()), "-o", "int8.plan"]


def profile(folder: Path) -> list[str]:
    Image.fromarray(photo(40, 40)).save(folder / "image.png")
    runs = ["--runtime", "cpu", "--duration", "60s"]
    return ["profile", "-e", str(default_plan()), "--image", "image.png", *runs]


def train(folder: Path) -> list[str]:
    """Its run folder keeps what was finished, to go on from there."""
    (folder / "photos").mkdir()
    for k in range(4):
        Image.fromarray(photo(96, 100, seed=k)).save(folder / "photos" / f"{k:03d}_crop_0.png")
    assert "steps = 6\n" in TOML
    (folder / "long.toml").write_text(TOML.replace("steps = 6\n", "steps = 100000\n"))
    return ["train", "long.toml", "--images", "photos", "-o", "unfinished", "--device", "cpu"]


COMMANDS = {"run": (run, 6), "build": (build, 8), "export": (export, 8)}
COMMANDS |= {"calibrate": (calibrate, 6), "profile": (profile, 6), "train": (train, 6)}
"""What is stopped, and the seconds within which its signals come."""


@pytest.mark.parametrize("attempt", range(TRIES))
@pytest.mark.parametrize("name", COMMANDS)
def test_a_signal_stops_a_command(name, attempt, tmp_path, record_property):
    prepare, span = COMMANDS[name]
    arguments = prepare(tmp_path)
    before = content(tmp_path)
    rng = np.random.default_rng([attempt, *name.encode()])
    number = (signal.SIGINT, signal.SIGTERM)[int(rng.integers(2))]
    command = start(arguments, tmp_path)
    time.sleep(float(rng.uniform(0, span)))
    if command.poll() is not None:
        assert command.returncode == 0, command.stderr.read()
        return
    began = time.monotonic()
    command.send_signal(number)
    _, errors = command.communicate(timeout=60)
    took = time.monotonic() - began
    record_property("stopped_after", round(took, 2))
    assert "Traceback" not in errors
    if command.returncode == 0:  # the last safe point was passed
        return
    assert command.returncode == 128 + number, errors
    assert "stopped; nothing unfinished was left behind" in errors
    assert content(tmp_path) == before
    assert took < (BUILD_STOP if name == "build" else STOP) * crowd()


def test_a_second_signal_ends_the_process_at_once(tmp_path):
    command = start(run(tmp_path), tmp_path)
    before = content(tmp_path)
    deadline = time.monotonic() + 60
    while content(tmp_path) == before and time.monotonic() < deadline:
        time.sleep(0.05)
    for _ in range(2):
        command.send_signal(signal.SIGTERM)
        time.sleep(0.01)
    command.communicate(timeout=60)
    assert command.returncode in (-signal.SIGTERM, 128 + signal.SIGTERM)
    assert not (tmp_path / "image_x16.png").exists()


def test_a_signal_after_the_work_changes_nothing(tmp_path):
    """While the interpreter ends, which takes a second where large libraries are loaded."""
    program = """
import os, signal, sys

class Last:
    def __del__(self, kill=os.kill, number=signal.SIGTERM, process=os.getpid()):
        kill(process, number)

last = Last()
sys.argv[1:] = ["info", "liif"]
from clit_deploy.cli import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "liif" in done.stdout


def test_a_signal_that_is_ignored_stays_ignored(tmp_path):
    """As with nohup."""
    command = start(["info", str(default_plan())], tmp_path, ignored=signal.SIGHUP)
    command.send_signal(signal.SIGHUP)
    _, errors = command.communicate(timeout=60)
    assert command.returncode == 0, errors


def start(arguments: list[str], folder: Path, ignored: int | None = None) -> subprocess.Popen[str]:
    def dispositions() -> None:  # not those of whatever started the tests
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN if number == ignored else signal.SIG_DFL)

    command = subprocess.Popen(
        [sys.executable, "-m", "clit_deploy", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=dispositions,
    )
    deadline = time.monotonic() + 60
    while not handles_signals(command) and time.monotonic() < deadline:
        time.sleep(0.02)
    return command


def handles_signals(command: subprocess.Popen[str]) -> bool:
    """Whether the interpreter has started and the handlers are installed."""
    try:
        status = Path(f"/proc/{command.pid}/status").read_text()
    except OSError:  # not on macOS
        time.sleep(2)
        return True
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(mask, 16) >> (signal.SIGTERM - 1) & 1) or command.poll() is not None


def crowd() -> float:
    """How many times longer everything takes because others use the cores too."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def content(folder: Path) -> dict[str, str]:
    """Every file of a folder, with a digest."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ("unfinished" not in path.parts or path.suffix == ".part")
    }
