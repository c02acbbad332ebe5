"""The real commands, in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.helpers import ROOT, cli


def fails(done, *words, code=1):
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("clit-deploy: ")]
    for word in words:
        assert word in lines[-1]


def measure(plan, picture, *more):
    return cli("profile", "-e", plan, "--image", picture, "--runtime", "cpu", *more)


def test_the_main_job(plans, picture, tmp_path):
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    outputs = ["--csv-file", tmp_path / "a.csv", "--html-file", tmp_path / "a.html"]
    done = measure(
        plans["clit"], picture, "-s", "2", "-s", "5", "--iterations", 6, "-o", a, *outputs
    )
    assert done.returncode == 0, done.stderr
    for word in ("p99", "scale 2", "scale 5", "stage0.decode", "160.0 dB", "power"):
        assert word in done.stdout
    assert "Measuring 2 rows on photo.png, 6 runs each" in done.stderr
    assert f"Next: clit-deploy profile-diff {a}" in done.stdout.replace("\n", "")
    content = json.loads(a.read_text())
    assert content["command"].startswith("clit-deploy profile -e ")
    assert [row["requested"] for row in content["rows"]] == [{"scale": 2.0}, {"scale": 5.0}]
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 3
    assert (tmp_path / "a.html").read_text().startswith("<!doctype html>")
    for row in content["rows"]:  # steady, whatever else this machine is doing
        row["runs"] = [[start, 100 + k % 2] for k, (start, _) in enumerate(row["runs"])]
    a.write_text(json.dumps(content))
    b.write_text(a.read_text())
    same = cli("profile-diff", a, b, "--floating")
    assert same.returncode == 0, same.stderr
    assert "PASS: nothing is worse" in same.stdout
    for row in content["rows"]:
        row["runs"] = [[start, ms * 2] for start, ms in row["runs"]]
        row["host_ms"]["p50"] *= 2
    b.write_text(json.dumps(content))
    slower = cli("profile-diff", a, b, "--floating", "--threshold", 10, "--json")
    assert slower.returncode == 3, slower.stderr
    found = json.loads(slower.stdout)
    assert found["regressed"]
    assert {c["verdict"] for c in found["changes"] if c["name"] == "latency"} == {"worse"}
    for row in content["rows"]:
        row["runs"], row["quality"] = row["runs"][:2], None
        row["unavailable"]["quality"] = "the output holds NaN"
    b.write_text(json.dumps(content))
    few = cli("profile-diff", a, b, "--floating", "--json")
    assert few.returncode == 3, few.stderr
    found = json.loads(few.stdout, parse_constant=pytest.fail)
    assert {c["noise"] for c in found["changes"] if c["name"] == "latency"} == {None}
    assert {c["after"] for c in found["changes"] if c["name"] == "quality"} == {None}
    shown = cli("profile-diff", a, b, "--floating")
    assert "no longer available (the output holds NaN)" in " ".join(shown.stdout.split())
    content["image"]["sha256"] = "0"
    b.write_text(json.dumps(content))
    fails(cli("profile-diff", a, b, "--floating"), "images differ", code=4)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (["--duration", "0s"], ["not a valid duration"], 2),
        (["--iterations", 3, "--duration", "1s"], ["--duration and --iterations"], 2),
        (["--sweep", "color=1"], ["not a valid sweep", "tile"], 2),
        (["--scale", "big"], ["not a valid scale"], 2),
        (["--sweep", "runtime=cpu,cuda"], ["NVIDIA driver", "--runtime cpu"], 1),
        (["--threads", 0], ["threads"], 2),
        (["--max-memory", "lots"], ["memory size"], 2),
        (["--reference", "none.plan"], ["none.plan"], 1),
        (["--json-file", "/nowhere/a.json"], ["/nowhere does not exist"], 1),
        (["-o", "x.out", "--csv-file", "x.out"], ["need different files"], 2),
    ],
)
def test_bad_input_is_one_sentence_before_anything_is_measured(
    plans, picture, arguments, words, code
):
    start = time.monotonic()
    done = measure(plans["clit"], picture, *arguments)
    fails(done, *words, code=code)
    assert not done.stdout
    assert time.monotonic() - start < 60
    assert not (ROOT / "x.out").exists()


def test_existing_outputs_are_kept(plans, picture, tmp_path):
    kept = tmp_path / "a.json"
    kept.write_text("mine")
    fails(measure(plans["clit"], picture, "-o", kept), "--force")
    assert kept.read_text() == "mine"


def test_files_that_are_not_profiles(tmp_path, picture):
    fails(cli("profile-diff", tmp_path / "a.json", picture), "There is no profile")
    fails(cli("profile-diff", picture, picture), "is not a profile")
    newer = tmp_path / "newer.json"
    newer.write_text(json.dumps({"schema": 99, "rows": []}))
    fails(cli("profile-diff", newer, newer), "newer clit-deploy")


def test_ctrl_c_leaves_nothing_behind(plans, picture, tmp_path):
    command = [sys.executable, "-m", "clit_deploy", "profile", "-e", plans["clit"]]
    command += ["--image", picture, "--runtime", "cpu", "--duration", "60s"]
    command += ["-o", tmp_path / "a.json", "--html-file", tmp_path / "a.html"]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    running = subprocess.Popen(
        list(map(str, command)), cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("clit-profile-*/output.png")) and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 128 + signal.SIGINT
    assert "nothing unfinished was left behind" in errors
    left = [path.name for path in tmp_path.iterdir() if path.name != ".ses"]  # ONNX Runtime's own
    assert not left
