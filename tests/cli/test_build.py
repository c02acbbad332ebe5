"""`clit-deploy build`, in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil

import pytest
from PIL import Image

from clit_deploy.plan.plan_file import Plan
from clit_deploy.system import gpu_nodes
from clit_deploy.system.locks import locked
from tests.cli.test_cli import fails
from tests.helpers import ROOT, cli, photo
from tests.test_imports import assert_light

RTX = ["--runtime", "tensorrt-rtx"]
needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="TensorRT-RTX, which builds without a GPU, is not installed",
)


@pytest.fixture
def path(plans, tmp_path):
    return shutil.copy(plans["liif-plain"], tmp_path / "model.plan")


@needs_rtx
def test_engines_for_other_devices_are_built_without_one(path):
    done = cli("build", path, *RTX, "--compute-capability", "8.9", "--compute-capability", "86")
    assert done.returncode == 0, done.stderr
    assert "building encoder.onnx with TensorRT-RTX" in done.stderr
    assert "for 8.6, 8.9: tiles to" in done.stdout
    shown = cli("info", path).stdout
    assert "for 8.6, 8.9: tiles to" in shown
    plan = Plan.open(path)
    (made,) = plan.manifest.engines
    assert made.targets == ("8.6", "8.9")
    assert len(made.engines) == 4
    assert all(len(plan.read(engine.member)) > 1000 for engine in made.engines)
    (shown,) = json.loads(cli("info", path, "--json").stdout)["engines"]
    assert (shown["flavour"], shown["targets"]) == ("tensorrt-rtx", ["8.6", "8.9"])


@needs_rtx
def test_limits_are_kept_and_another_plan_may_be_written(path, tmp_path):
    before, other = path.read_bytes(), tmp_path / "other.plan"
    build = ["build", path, *RTX, "--compute-capability", "8.6", "--tile", "40", "--chunk", "2"]
    done = cli(*build, "--workspace", "64MB", "-o", other)
    assert done.returncode == 0, done.stderr
    assert "tiles to 40, blocks to 256, chunks of 2" in done.stdout
    assert path.read_bytes() == before
    assert Plan.open(other).manifest.engines[0].workspace == 64_000_000
    fails(cli(*build, "-o", other), "--force")


@needs_rtx
def test_bad_options_are_one_sentence_and_leave_the_plan(path, tmp_path):
    before, build = path.read_bytes(), ["build", path, *RTX]
    fails(cli(*build, "--compute-capability", "8.7"), "8.7; it supports 7.5, 8.0, 8.6")
    fails(
        cli(*build, "--compute-capability", "fast"),
        "'fast' is not a compute capability",
        code=2,
    )
    fails(cli(*build, "--tile", "5"), "--tile 5 is not valid for this encoder")
    fails(cli(*build, "--chunk", "0"), "A chunk of 0 and a block of 256 are not valid", code=2)
    fails(cli(*build, "--workspace", "much"), "'much'", "2GB", code=2)
    fails(cli("build", tmp_path / "no.plan", *RTX), "no plan file")
    with locked(path, "building engines into"):
        fails(cli(*build), "Another process is building engines into", "wait for it")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model.plan"]


@needs_rtx
def test_int8_for_processors_is_refused_before_the_export(tmp_path):
    """There is no such checkpoint, and that is not what is said."""
    fails(cli("export", tmp_path / "x.pth", "--precision", "int8", *RTX), "--precision int8-fp16")


def test_building_needs_neither_torch_nor_onnx(path):
    main = "import clit_deploy.cli as c; c.main()"
    assert_light(main, ["build", path, *RTX, "--compute-capability", "8.6"])
    assert Plan.open(path).manifest.engines
    assert_light(main, ["doctor", "--json"])


def test_a_missing_tensorrt_is_one_sentence(path, tmp_path):
    """Whatever is installed: a module of that name that cannot be imported goes before it."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10 is not there')\n")
    environment = {**os.environ, "PYTHONPATH": f"{hidden}{os.pathsep}{ROOT}"}
    before = path.read_bytes()
    driver = gpu_nodes.has_nvidia_node()
    said = ("module tensorrt cannot", "pip install") if driver else ("NVIDIA driver",)
    fails(cli("build", path, env=environment), *said)
    picture = tmp_path / "x.png"
    Image.fromarray(photo(10, 10)).save(picture)
    fails(
        cli("run", "-e", path, picture, "--scale", "2", "--runtime", "tensorrt", env=environment),
        *said,
    )
    assert path.read_bytes() == before
