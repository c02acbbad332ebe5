"""Many images in one run: what fails stops nothing, what exists is kept, and what is printed.

The images of `tests/odd/batch` are a folder as people have them: sub-folders, hidden files, a
picture that is cut off, and two of the same name but for their extension.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import clit_deploy
from clit_deploy.cli import app, json_document
from clit_deploy.errors import ImageError, OptionError, OutputError, SomeFailedError
from clit_deploy.system import files
from tests.helpers import ROOT, cli, photo

ODD = Path(__file__).parents[1] / "odd"


@pytest.fixture
def batch(tmp_path, monkeypatch):
    """The working folder, with the odd batch in it."""
    shutil.copytree(ODD / "batch", tmp_path / "batch")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(tiny_plan, monkeypatch, capsys):
    """The command in this process: returns what it printed."""

    def command(*words):
        monkeypatch.setattr(json_document, "_indent", 1)
        monkeypatch.setattr(json_document, "_finished", {})
        line = ["run", *map(str, words), "-e", str(tiny_plan), "--runtime", "cpu"]
        app(line, prog_name="clit-deploy", standalone_mode=False)
        return capsys.readouterr()

    return command


def names(folder):
    return sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file())


def test_a_folder_with_a_picture_that_is_cut_off(batch, tiny_plan):
    done = cli("run", "batch", "-e", tiny_plan, "-s", 2, "-o", "out", cwd=batch)
    assert done.returncode == 5, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last == "clit-deploy: 1 of 5 images failed: batch/c.png."
    assert {"a_x2.png", "d_x2.png", "sub/b_x2.jpg"} < set(names(batch / "out"))
    assert len(names(batch / "out")) == 4
    assert len(done.stdout.splitlines()) == 4


def test_json_is_a_line_for_each_image(batch, tiny_plan):
    words = ["batch/a.png", "batch/c.png", "batch/d.png", "-s", 2, "-o", "out", "--json"]
    done = cli("run", *words, "-e", tiny_plan, cwd=batch)
    assert done.returncode == 5
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["schema"] for line in lines] == [1] * 4
    made = {r["output"]: (r["width"], r["height"]) for line in lines for r in line["results"]}
    assert made == {"out/a_x2.png": (32, 32), "out/d_x2.png": (32, 32)}
    (failed,) = [line for line in lines if "input" in line]
    assert failed["input"] == "batch/c.png"
    assert failed["error"]["type"] == "ImageError"
    assert failed["error"]["message"] in done.stderr
    assert lines[-1]["error"]["exit_code"] == 5
    again = cli("run", *words, "-e", tiny_plan, "--skip-existing", cwd=batch)
    left_out = [json.loads(line).get("skipped") for line in again.stdout.splitlines()]
    assert left_out[:2] == [
        {"input": f"batch/{name}.png", "output": f"out/{name}_x2.png"} for name in "ad"
    ]


def test_one_image_that_fails_is_an_error_of_its_own(batch, run):
    with pytest.raises(ImageError, match="cut off"):
        run("batch/c.png", "-s", 2)


def test_a_second_start_skips_what_is_done(batch, run):
    first = run("batch/a.png", "batch/d.png", "-s", 2, "-o", "out")
    assert first.out.count("onnxruntime") == 2
    before = {name: (batch / "out" / name).stat().st_mtime_ns for name in names(batch / "out")}
    second = run("batch/a.png", "batch/d.png", "-s", 2, "-o", "out", "--skip-existing")
    assert second.out == ""
    assert "2 images left out: the results exist" in second.err
    after = {name: (batch / "out" / name).stat().st_mtime_ns for name in names(batch / "out")}
    assert before == after


def test_results_are_those_of_single_runs(batch, run, tiny_plan):
    sizes = [(9, 14), (40, 31), (22, 22), (5, 60), (33, 18)]
    for k, size in enumerate(sizes):
        Image.fromarray(photo(*size, seed=k)).save(batch / f"{k}.png")
    run("?.png", "-s", 2.5, "-o", "out")
    with clit_deploy.load(tiny_plan, runtime="cpu") as up:
        for k, size in enumerate(sizes):
            expected = up.upscale(photo(*size, seed=k), scale=2.5)
            with Image.open(batch / "out" / f"{k}_x2.5.png") as made:
                assert np.abs(np.asarray(made) - expected * 255).max() <= 0.51


def test_the_format_of_a_batch(batch, run):
    run("batch/a.png", "batch/d.png", "-s", 2, "-o", "out", "--format", "jpg")
    assert names(batch / "out") == ["a_x2.jpg", "d_x2.jpg"]
    run("batch/a.png", "batch/a.jpg", "-s", 2, "-o", "twins", "--format", "png")
    assert names(batch / "twins") == ["a_jpg_x2.png", "a_x2.png"]
    run("batch/a.png", "batch/a.jpg", "-s", 2, "-o", "own")
    assert names(batch / "own") == ["a_x2.jpg", "a_x2.png"]


def test_in_place(batch, run):
    mode = (batch / "batch" / "a.png").stat().st_mode
    shutil.copy("batch/a.png", "real.png")
    Path("link.png").symlink_to("real.png")
    run("batch/a.png", "link.png", "-s", 3, "--in-place")
    for name in ("batch/a.png", "real.png"):
        with Image.open(batch / name) as made:
            assert made.size == (48, 48)
    assert (batch / "link.png").is_symlink()
    assert (batch / "batch" / "a.png").stat().st_mode == mode


def test_a_list_and_a_template(batch, tiny_plan):
    listed = "batch/a.png\nbatch/sub/b.jpg\nno.png\n"
    words = ["--from", "-", "-s", "2x3", "-o", "out/{folder}/{stem}_{scale}.{ext}"]
    done = cli("run", *words, "-e", tiny_plan, cwd=batch, input=listed)
    assert done.returncode == 5, done.stderr
    assert "3 images failed: no.png" in done.stderr
    assert names(batch / "out") == ["batch/a_2x3.png", "sub/b_2x3.jpg"]
    with Image.open(batch / "out/batch/a_2x3.png") as made:
        assert made.size == (32, 48)


def test_options_that_cannot_be_combined(batch, run):
    for words, message in [
        (("--skip-existing", "--force"), "--skip-existing and --force"),
        (("--skip-existing", "--in-place"), "--skip-existing and --in-place"),
        (("--compare", "c.png"), "draws one result, and there are 2"),
        (("--preview", "3,3"), "name one image and one size"),
    ]:
        with pytest.raises(OptionError, match=message):
            run("batch/a.png", "batch/d.png", "-s", 2, "-o", "out", *words)


def test_a_stretch_is_said_once(batch, run):
    done = run("batch/a.png", "batch/d.png", "--size", "64x40", "-o", "out")
    assert done.err.count("changes the aspect of a.png (16x16) and 1 more") == 1
    assert "aspect" not in run("batch/a.png", "--size", "64x64", "-o", "p.png").err


def test_fill_is_cut_and_fit_is_not(batch, run):
    run("batch/a.png", "--fill", "64x40", "-o", "fill.png")
    run("batch/a.png", "--fit", "64x40", "-o", "fit.png")
    run("batch/a.png", "-s", 4, "-o", "whole.png")
    with Image.open("fill.png") as fill, Image.open("whole.png") as whole:
        assert fill.size == (64, 40)
        assert np.array_equal(np.asarray(fill), np.asarray(whole)[12:52])
    with Image.open("fit.png") as fit:
        assert fit.size == (40, 40)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count names otherwise")
def test_the_longest_name_is_written(batch, run):
    run("batch/a.png", "-s", 2, "-o", "z" * 250 + ".png")
    assert Path("z" * 250 + ".png").is_file()
    assert not list(batch.glob(".*"))


def test_a_link_stays_a_link(batch, run):
    Path("t.png").write_text("old")
    Path("l.png").symlink_to("t.png")
    run("batch/a.png", "-s", 2, "-o", "l.png", "--force")
    assert Path("l.png").is_symlink()
    with Image.open("t.png") as made:
        assert made.size == (32, 32)


def test_what_a_killed_run_left_is_removed_even_if_nothing_is_left_to_do(batch, run):
    run("batch/a.png", "-s", 2, "-o", "out/")
    (batch / "out" / ".b_x2.png.0123abcd.clit.part").write_text("half")
    (batch / "out" / ".a_x2.png.0123abcd.clit.part").write_text("half")
    run("batch/a.png", "batch/d.png", "-s", 2, "-o", "out", "--skip-existing")
    assert names(batch / "out") == ["a_x2.png", "d_x2.png"]
    (batch / "out" / ".a_x2.png.0123abcd.clit.part").write_text("half")
    run("batch/a.png", "batch/d.png", "-s", 2, "-o", "out", "--skip-existing")
    assert names(batch / "out") == ["a_x2.png", "d_x2.png"]


def test_an_error_that_nobody_foresaw_stops_no_other_image(batch, run, monkeypatch):
    write = files.replacing

    def fail_once(path):
        if path.name == "a_x2.png":
            raise ZeroDivisionError("the moon is full")
        return write(path)

    monkeypatch.setattr("clit_deploy.images.image_writer.replacing", fail_once)
    with pytest.raises(SomeFailedError, match=r"1 of 2 images failed: batch/a\.png"):
        run("batch/a.png", "batch/d.png", "-s", 2, "-o", "out")
    assert names(batch / "out") == ["d_x2.png"]


def test_a_folder_that_cannot_be_made(batch, run):
    Path("file").write_text("")
    with pytest.raises(OutputError, match="not a folder"):
        run("batch", "-s", 2, "-o", "file")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_signal_names_what_was_finished(batch, tiny_plan):
    for k in range(3):
        Image.fromarray(photo(20, 20)).save(batch / f"{k}.png")
    Image.fromarray(photo(300, 300)).save(batch / "9.png")
    command = [sys.executable, "-m", "clit_deploy", "run", "0.png", "1.png", "2.png", "9.png"]
    command += ["-s", "24", "-o", "out", "-e", str(tiny_plan), "--runtime", "cpu"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=batch, env=environment, **pipes) as process:
        lines = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert "3 of 4 images finished; the last one is out/" in errors
    assert len(lines) == 3
    assert names(batch / "out") == ["0_x24.png", "1_x24.png", "2_x24.png"]


def test_nothing_but_the_result_appears(batch, tiny_plan):
    home = batch / "home"
    home.mkdir()
    before = names(batch)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(home)}
    done = cli("run", "batch/a.png", "-s", 2, "-e", tiny_plan, cwd=batch, env=environment)
    assert done.returncode == 0, done.stderr
    assert set(names(batch)) - set(before) == {"batch/a_x2.png"}
