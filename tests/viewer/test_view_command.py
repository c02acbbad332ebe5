"""The command: its address, how it stops, and what it refuses."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest

from tests.helpers import ROOT, cli
from tests.viewer.conftest import Client


def test_it_serves_until_a_signal_stops_it(viewer_plans, photographs):
    command = [sys.executable, "-m", "clit_deploy", "view", *photographs, "--no-open"]
    command += [word for plan in viewer_plans for word in ("-e", plan)]
    process = subprocess.Popen(
        [str(word) for word in [*command, "--runtime", "cpu"]], text=True, cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    with process:
        client = Client(process.stdout.readline().strip())
        state = client.state()
        assert [image["name"] for image in state["images"]] == ["a photo.png", "clear.png"]
        assert state["images"][0]["argument"] == f"'{photographs[0]}'"
        assert [plan["argument"] for plan in state["plans"]] == [str(p) for p in viewer_plans]
        assert client.get("tiles/0/1/4/0/0.png")[0] == 200
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "nothing unfinished" in errors


def test_a_port_in_use_is_one_sentence(viewer_plans, photographs):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = cli(
            "view", photographs[0], "-e", viewer_plans[1], "--no-open", "--port", port,
            "--runtime", "cpu",
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"Port {port} is in use" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "No IMAGE is named"),
        (["missing.png"], 1, "missing.png"),
        (["README.md"], 1, "README.md"),
        (["README.md", "-e", "liif", "-e", "photo", "-e", "liif"], 2, "two at most"),
        (["README.md", "--port", "x"], 2, "--port"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(arguments, code, words):
    done = cli("view", "--no-open", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr
