"""The real command line, in a process of its own."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import clit_deploy
from clit_deploy.system.gpu_nodes import NVIDIA_NODES
from tests.helpers import ROOT, cli, photo, tiny_checkpoint, tiny_clit


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(photo(12, 10)).save(path)
    return path


def fails(done, *words, code=1):
    """The exit code, and one sentence on stderr that holds `words`; no traceback."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("clit-deploy: ")]
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0]
    return lines[0]


def test_the_main_job(tmp_path, image):
    checkpoint = tiny_checkpoint(tmp_path, tiny_clit(), "clit.pth")
    made = cli("export", checkpoint)
    assert made.returncode == 0, made.stderr
    assert "largest error" in made.stdout
    plan = tmp_path / "clit.plan"
    done = cli("run", "--engine", plan, image, "--scale", "12")
    assert done.returncode == 0, done.stderr
    assert "120x144" in done.stdout
    with Image.open(tmp_path / "photo_x12.png") as out, clit_deploy.load(plan) as up:
        expected = up.upscale(photo(12, 10), scale=12)
        assert np.abs(np.asarray(out) - expected * 255).max() <= 0.51
    assert not list(tmp_path.glob(".*"))


def test_info_and_verify(plans, image):
    shown = cli("info", plans["clit"])
    assert "3 stages (1 up to x4, 2 up to x16, 3 above)" in shown.stdout
    assert json.loads(cli("info", plans["clit"], "--json").stdout)["family"] == "clit"
    checked = cli("verify", plans["clit"], "--image", image)
    assert checked.returncode == 0, checked.stderr
    assert "tiled differs from whole by" in checked.stdout
    result = json.loads(cli("verify", plans["liif"], "--json").stdout)["result"]
    assert result["tiled"]["max_difference"] <= 1e-5
    assert len(result["cases"]) == 3


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        (["--scale", "2.5"], (25, 30)),
        (["--size", "33x29"], (33, 29)),
        (["--width", "40"], (40, 48)),
        (["--height", "30"], (25, 30)),
    ],
)
def test_scales_and_sizes(plans, image, tmp_path, asked, size):
    out = tmp_path / "out.png"
    done = cli("run", "-e", plans["liif"], image, *asked, "-o", out, "--json")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["results"]
    assert (result["width"], result["height"]) == size
    assert result["peak_bytes"] > 0
    with Image.open(out) as made:
        assert made.size == size


def test_alpha_is_kept_and_upscaled_by_the_network(plans, tmp_path):
    picture = Image.fromarray(photo(8, 8))
    alpha = np.zeros((8, 8), np.uint8)
    alpha[:, 4:] = 255
    picture.putalpha(Image.fromarray(alpha))
    picture.save(tmp_path / "a.png")
    done = cli("run", "-e", plans["liif"], tmp_path / "a.png", "--scale", "3")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "a_x3.png") as out:
        made = np.asarray(out)[..., 3]
    assert not made[:, :9].any(), "what is far from every visible pixel stays transparent"
    assert (made[:, 15:] == 255).all(), "and what is far from every transparent one stays opaque"
    lost = cli(
        "run", "-e", plans["liif"], tmp_path / "a.png", "--scale", "3", "-o", tmp_path / "a.jpg"
    )
    assert lost.returncode == 0
    assert "transparent parts get the background" in lost.stderr
    with Image.open(tmp_path / "a.jpg") as out:
        assert np.asarray(out)[:, :8].min() >= 250


def test_bad_scales_and_sizes(plans, image):
    run = ["run", "-e", plans["liif"], image, "--runtime", "cpu"]
    fails(cli(*run), "exactly one of", code=2)
    fails(cli(*run, "--scale", "2", "--width", "40"), "exactly one of", code=2)
    for scale in ("0", "-3", "nan", "0.5", "inf"):
        fails(cli(*run, "--scale", scale), "at least 1")
    fails(cli(*run, "--size", "big"), "1920x1080", code=2)
    fails(cli(*run, "--width", "4"), "only enlarge")
    fails(cli(*run, "--scale", "99999"), "1,000,000")
    fails(cli(*run, "--scale", "1e308"), "at least 1")
    fails(cli(*run, "--size", "²x9"), "1920x1080", code=2)
    fails(cli(*run, "--scale", "2000", "-o", "x.webp"), "16,383")
    fails(cli(*run, "--scale", "30", "--max-memory", "1MB"), "needs about", "1 MB is allowed")
    fails(cli(*run, "--scale", "2", "--max-memory", "much"), "2GB", code=2)
    if not any(node.exists() for node in NVIDIA_NODES):
        fails(cli(*run, "--scale", "2", "--runtime", "cuda"), "NVIDIA driver")


def test_bad_files(plans, image, tmp_path):
    fails(cli("run", "-e", tmp_path / "no.plan", image, "--scale", "2"), "no plan file")
    fails(cli("run", "-e", image, image, "--scale", "2"), "PNG image")
    fails(cli("run", "-e", plans["liif"], tmp_path / "no.png", "--scale", "2"), "no image file")
    archive = cli("run", "-e", plans["liif"], plans["liif"], "--scale", "2", "--runtime", "cpu")
    fails(archive, "is a zip archive")
    fails(cli("export", tmp_path / "no.pth"), "no checkpoint file")
    fails(cli("export", image), "not a PyTorch checkpoint")
    fails(cli("info", image), "PNG image")
    fails(cli("info", "x" * 300), "no plan file")
    fails(cli("run", "-e", plans["liif"], image, "--scale", "2", "-o", "o" * 300 + ".png"), "ooo")
    out = tmp_path / "missing" / "o.png"
    fails(cli("run", "-e", plans["liif"], image, "--scale", "2", "-o", out), "does not exist")


def test_existing_outputs_need_force(plans, image, tmp_path):
    out = tmp_path / "o.png"
    out.write_text("precious")
    run = ["run", "-e", plans["liif"], image, "--scale", "2", "-o", out]
    fails(cli(*run), "--force")
    assert out.read_text() == "precious"
    assert cli(*run, "--force").returncode == 0
    with Image.open(out) as made:
        assert made.size == (20, 24)


def test_no_two_images_go_to_one_file(plans, image, tmp_path):
    twin = tmp_path / "other" / image.name
    twin.parent.mkdir()
    Image.fromarray(photo(5, 6)).save(twin)
    folder = tmp_path / "out"
    folder.mkdir()
    run = ["run", "-e", plans["liif"], image, twin, "--scale", "2", "-o", folder, "--force"]
    fails(cli(*run), "Two of the images")
    assert not list(folder.iterdir())


def test_export_does_not_overwrite_unasked(plans, tmp_path):
    checkpoint = plans["liif"].with_suffix(".pth")
    target = tmp_path / "m.plan"
    target.write_text("precious")
    fails(cli("export", checkpoint, "-o", target), "--force")
    assert target.read_text() == "precious"
    fails(cli("export", checkpoint, "-o", tmp_path), "is a folder")
    assert cli("export", checkpoint, "-o", target, "--force").returncode == 0


def test_debug_shows_the_traceback(tmp_path):
    done = cli("info", tmp_path / "no.plan", "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "no plan file" in done.stderr


def test_usage_errors_and_version():
    assert cli("--version").stdout.strip() == f"clit-deploy {clit_deploy.__version__}"
    assert cli("run").returncode == 2
    assert cli("dance").returncode == 2


def test_a_full_disk_leaves_nothing(plans, image, tmp_path):
    """A limit on file sizes stands for the full disk: writing fails half-way."""
    folder = tmp_path / "out"
    folder.mkdir()

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    run = ["run", "-e", plans["liif"], image, "--scale", "9", "--runtime", "cpu"]
    done = cli(*run, "-o", folder / "o.png", preexec_fn=limit)
    fails(done, "o.png cannot be written")
    assert not list(folder.iterdir())


def test_ctrl_c_leaves_nothing(plans, tmp_path):
    image, folder = tmp_path / "big.png", tmp_path / "out"
    folder.mkdir()
    Image.fromarray(photo(200, 200)).save(image)
    command = [sys.executable, "-m", "clit_deploy", "run", "-e", str(plans["clit"]), str(image)]
    command += ["--scale", "20", "-o", str(folder / "o.png")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    deadline = time.monotonic() + 60
    while not list(folder.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [p.suffix for p in folder.iterdir()] == [".part"]
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped" in errors
    assert "Traceback" not in errors
    assert not list(folder.iterdir())


def test_a_folder_in_place_of_a_file_is_an_error(plans, tmp_path):
    picture = tmp_path / "photo.png"
    Image.fromarray(photo(40, 40)).save(picture)
    for arguments, words in [
        (("run", picture, tmp_path / "no.png", "--scale", "2"), "no image file"),
        (("info", tmp_path), "is a folder; name the plan file in it"),
        (("export", tmp_path), "is a folder; name the checkpoint file in it"),
        (("evaluate", "-e", plans["liif"], "--images", tmp_path / "no"), "There is no folder"),
    ]:
        done = cli(*arguments)
        assert done.returncode == 1, done.stderr
        assert words in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]  # names are checked first
