"""`clit-deploy ray` on two nodes: workers die, the head restarts, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers import cli, photo
from tests.ray.namespaces import HEAD, OTHER

pytestmark = pytest.mark.ray

IMAGES = 200
BAD = "bad.png"
ACTOR = "ray::MapWorker"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for k in range(IMAGES):
        image = Image.fromarray(photo(40, 60 + k % 5, seed=k % 20))
        image.save(folder / f"{k:03}.{'jpg' if k % 7 == 3 else 'png'}", dpi=(300, 300))
    (folder / BAD).write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def lines(manifest):
    """What became of the results."""
    found = [json.loads(line) for line in manifest.read_text().splitlines()]
    return [line for line in found if line["status"] != "planned"]


def printed(stdout):
    """The JSON that a program printed; Ray may print something as well."""
    (line,) = (line for line in stdout.splitlines() if line.startswith("{"))
    return json.loads(line)


def wait_for(what, process, seconds=60):
    """Wait until something is true while a process runs."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def test_a_killed_worker_and_a_restarted_head_lose_nothing(nodes, images, tiny_plan, tmp_path):
    out, manifest = tmp_path / "out", tmp_path / "done.jsonl"
    words = [images, "-e", tiny_plan, "-s", "2", "-o", out, "--manifest", manifest]
    command = [*nodes.on(HEAD), sys.executable, "-m", "clit_deploy", "ray",
               *map(str, words), "--address", nodes.address]  # fmt: skip
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=nodes.environment, cwd=tmp_path, **pipes) as process:
        wait_for(lambda: out.is_dir() and len(list(out.glob("*"))) > 10, process)
        actors = [n for n, line in nodes.processes(OTHER).items() if line.startswith(ACTOR)]
        assert actors
        os.kill(actors[0], signal.SIGKILL)
        wait_for(lambda: len(lines(manifest)) >= 40, process)
        nodes.kill(HEAD, without="clit_deploy")
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1, stderr
    assert "The connection to Ray was lost" in stderr
    assert "the same command with --manifest" in stderr
    assert "Traceback" not in stderr
    finished = [Path(line["output"]) for line in lines(manifest) if line["status"] == "done"]
    before = {path: path.stat().st_mtime_ns for path in finished}
    assert 39 <= len(before) < IMAGES

    nodes.kill(HEAD)
    nodes.kill(OTHER)
    nodes.start()
    done = nodes.ray(*words)
    assert done.returncode == 5, done.stderr
    assert f"{len(before)} images left out" in done.stderr
    assert "on 2 nodes" in done.stderr
    made = [Path(line["output"]) for line in lines(manifest) if line["status"] == "done"]
    assert len(made) == len(set(made)) == IMAGES
    assert {path: path.stat().st_mtime_ns for path in before} == before
    *_, failed = (line for line in lines(manifest) if line["status"] != "done")
    assert Path(failed["input"]).name == BAD
    assert BAD in failed["error"]

    one = cli("run", images, "-e", tiny_plan, "-s", "2", "-o", tmp_path / "one",
              "--runtime", "cpu", "--threads", "1")  # fmt: skip
    assert one.returncode == 5, one.stderr
    expected = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert {path.name: path.read_bytes() for path in out.iterdir()} == expected
    assert len(expected) == IMAGES


def tiled(nodes, plan, folder, side, repeat, scale):
    """The same image in bands on the cluster, and as a whole here: two files."""
    Image.fromarray(np.tile(photo(side, side), (repeat, repeat, 1))).save(folder / "big.png")
    words = [folder / "big.png", "-e", plan, "-s", scale, "--tiled", "--threads", "1"]
    done = nodes.ray(*words, "--tiles", "-o", folder / "bands.tif", "--json", timeout=600)
    assert done.returncode == 0, done.stderr
    assert not (folder / "bands.tif.bands").exists()
    command = [sys.executable, "-m", "clit_deploy", "run", *map(str, words), "--runtime", "cpu",
               "-o", str(folder / "whole.tif")]  # fmt: skip
    subprocess.run(command, env=nodes.environment, capture_output=True, timeout=600, check=True)
    return json.loads(done.stdout)["results"][0], folder / "bands.tif", folder / "whole.tif"


@pytest.mark.slow
def test_an_image_in_bands_is_the_image_that_one_process_makes(nodes, plans, tmp_path):
    result, bands, whole = tiled(nodes, plans["liif-plain"], tmp_path, 125, 9, 1.5)
    assert (result["width"], result["height"]) == (1688, 1688)
    assert result["output"] == str(bands)
    assert bands.read_bytes() == whole.read_bytes()


@pytest.mark.slow
def test_64_megapixels_in_bands(nodes, plans, tmp_path):
    result, bands, whole = tiled(nodes, plans["liif-plain"], tmp_path, 250, 8, 4)
    assert result["width"] * result["height"] == 64_000_000
    assert bands.read_bytes() == whole.read_bytes()


def test_a_node_that_lacks_a_folder_is_named(nodes, tiny_plan, tmp_path):
    Image.fromarray(photo(12, 12)).save(tmp_path / "a.png")
    out = nodes.hidden / "out"
    done = nodes.ray(tmp_path / "a.png", "-e", tiny_plan, "-s", "2", "-o", f"{out}/")
    assert done.returncode == 1
    assert f"Node {OTHER} does not have {out}." in done.stderr
    assert "a file system that all nodes share" in done.stderr
    assert not list(out.iterdir())


def test_rows_of_a_dataset(nodes, tiny_plan, tmp_path):
    missing = tmp_path / "missing.plan"
    done = nodes.run("-m", "tests.ray.dataset_rows", tiny_plan, missing, nodes.address)
    assert done.returncode == 0, done.stderr
    found = printed(done.stdout)
    assert found["errors"] == [None, None, None, "image"]
    assert found["sizes"] == [[24, 20], [24, 22], [24, 24], None]
    assert found["missing"].startswith("On node 10.77.0.")
    assert f"There is no plan file {missing}. Pass clit_deploy.ray.ship(" in found["missing"]


@pytest.mark.slow
def test_an_image_that_kills_its_worker_fails_alone(nodes, tiny_plan):
    done = nodes.run("-m", "tests.ray.deadly_work", tiny_plan, nodes.address, timeout=300)
    assert done.returncode == 0, done.stderr
    found = printed(done.stdout)
    assert found["done"] == [n for n in range(12) if n != 5]
    assert "Its worker died whenever it was tried" in found["failed"]["5"]
