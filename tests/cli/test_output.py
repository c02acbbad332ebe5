"""What commands print: JSON documents, messages, progress, verdicts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from PIL import Image

from clit_deploy.calibration.int8 import quantize_plan
from clit_deploy.calibration.settings import Settings
from clit_deploy.cli.json_document import plain
from clit_deploy.cli.step_totals import EXPORT_STEPS, PRECISION_STEPS
from clit_deploy.cli.terminal import StepCounter
from clit_deploy.config import Precision
from clit_deploy.export.checkpoint_export import export_checkpoint
from clit_deploy.plan.plan_file import Plan
from clit_deploy.tasks.warp import WarpResult
from tests.helpers import ROOT, cli, photo, tiny_checkpoint, tiny_liif


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(photo(12, 10)).save(path)
    return path


def pairs(value):
    """Lists of exactly two numbers, whose order a reader would have to guess."""
    items = value.values() if isinstance(value, dict) else value
    if isinstance(value, list) and len(value) == 2 and all(type(x) in (int, float) for x in value):
        yield value
    if isinstance(value, (dict, list)):
        for item in items:
            yield from pairs(item)


def test_sizes_are_named_and_numbers_that_are_not_finite_are_null():
    result = plain({"rows": [WarpResult("a.png", "b.png", (20, 30), float("inf"), 0.5)]})
    assert result == {
        "rows": [
            {
                "input": "a.png",
                "output": "b.png",
                "width": 30,
                "height": 20,
                "scale": None,
                "seconds": 0.5,
            }
        ]
    }


@pytest.mark.parametrize("line", [["info"], ["verify"], ["run", "-s", "2,3", "-o", "OUT"]])
def test_documents_have_a_schema_and_no_bare_pairs(plans, image, tmp_path, line):
    name, *more = line
    words = [tmp_path if word == "OUT" else word for word in more]
    done = cli(name, *([image] if name == "run" else []), "-e", plans["clit-r1"], *words, "--json")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines() if name == "run" else [done.stdout]
    assert len(lines) == (2 if name == "run" else 1), "a line for each image"
    for line in lines:
        document = json.loads(line)
        assert document.pop("schema") == 1
        document.pop("hyperparameters", None)  # the checkpoint's own
        assert list(pairs(document)) == []


@pytest.mark.parametrize(
    ("line", "code", "kind", "words"),
    [
        (["run", "x.png", "-s", "2"], 1, "MissingFileError", "no image file x.png"),
        (["run", "x.png", "-s", "2x"], 2, "OptionError", "'2x' is not a valid scale; write 2."),
        (["run", "x.png", "-s", "200%"], 2, "OptionError", "not a valid scale; write 2."),
        (["run", "x.png", "-s", "big"], 2, "OptionError", "write 4, 2.5 or 2,3,4."),
        (["run", "x.png", "--width", "2,5"], 2, "BadParameter", "'2,5' is not a whole number"),
        (["run", "x.png", "--scales", "2"], 2, "NoSuchOption", "'clit-deploy run -h' lists"),
        (["run"], 2, "OptionError", "No IMAGE is named"),
        (["info", "a.plan", "-e", "b.plan"], 2, "OptionError", "cannot be combined"),
        (["info"], 2, "OptionError", "name a .plan file or a model"),
        (["calibrate", "a.plan", "--max-drop", "0,1"], 2, "BadParameter", "decimal point"),
    ],
)
def test_a_failure_is_a_document_and_a_sentence(line, code, kind, words):
    done = cli(*line, *([] if line[0] == "calibrate" else ["--json"]))
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    if line[0] != "calibrate":
        error = json.loads(done.stdout)["error"]
        assert (error["type"], error["exit_code"]) == (kind, code)
        assert done.stderr == f"clit-deploy: {error['message']}\n"


def test_lists_of_scales_make_several_files(plans, image, tmp_path):
    done = cli("run", image, "-e", plans["liif"], "-s", "2,5")
    assert done.returncode == 0, done.stderr
    assert "'2,5' means 2 scales; write a point for a decimal." in done.stderr
    assert "2 images to make" in done.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"photo.png", "photo_x2.png", "photo_x5.png"}
    done = cli("run", image, "-e", plans["liif"], "-s", "2,5", "-o", tmp_path / "x.png")
    assert done.returncode == 1
    assert "several results need a folder" in done.stderr


def test_quiet_prints_the_result_alone(plans, image, tmp_path):
    done = cli("run", "-q", image, "-e", plans["liif"], "-s", 2, "-o", tmp_path / "a.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert "20x24" in done.stdout
    done = cli("-q", "verify", plans["liif"])
    assert (done.returncode, done.stderr) == (0, "")
    assert "PASS" in done.stdout
    assert "Next:" not in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_a_message_does_not_share_a_line_with_the_bar(plans, tmp_path):
    picture = tmp_path / "a.png"
    with_alpha = Image.fromarray(photo(30, 30))
    with_alpha.putalpha(128)
    with_alpha.save(picture)
    command = [sys.executable, "-m", "clit_deploy", "run", str(picture), "-e", str(plans["clit"])]
    command += ["-s", "6", "-o", str(tmp_path / "a.jpg")]
    ours, theirs = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
    with subprocess.Popen(
        command, stderr=theirs, stdout=subprocess.PIPE, cwd=ROOT, env=environment
    ) as process:
        os.close(theirs)
        seen = b""
        try:
            while part := os.read(ours, 4096):
                seen += part
        except OSError:  # the other end is closed
            pass
        assert process.wait(timeout=120) == 0
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    lines = [line for line in re.split(r"[\r\n]+", text) if line.strip()]
    (message,) = [line for line in lines if "no transparency" in line]
    assert message.startswith("clit-deploy: ")
    assert "%" not in message
    assert any("0.032 megapixels" in line and "%" in line for line in lines), "there was a bar"


def test_steps_are_counted_to_their_total(plans, tmp_path, capsys):
    checkpoint = tiny_checkpoint(tmp_path, tiny_liif())
    steps = StepCounter(EXPORT_STEPS + PRECISION_STEPS[Precision.FP16])
    export_checkpoint(checkpoint, precision="fp16", progress=steps)
    assert steps.done == steps.total
    assert capsys.readouterr().err.startswith("[1/7] reading tiny.pth\n[2/7] ")
    for precision in (Precision.INT8, Precision.INT8_FP16):
        steps = StepCounter(PRECISION_STEPS[precision])
        quantize_plan(Plan.open(plans["liif-plain"]), Settings.of(None, precision, 20), steps)
        assert steps.done == steps.total
