"""What `unpack` writes is what `build` gives to TensorRT."""

from __future__ import annotations

import json
import shlex

import pytest

from clit_deploy.engines.build import EngineLimits, build_engines
from clit_deploy.engines.unpack import unpack
from clit_deploy.errors import BuildError, OutputError, OutputExistsError
from clit_deploy.plan.plan_file import Plan
from clit_deploy.runtimes.trt.engine_builder import BuildOptions
from clit_deploy.zoo.named_models import find_plan
from tests.cli.test_cli import fails
from tests.engines.offers import SMALL
from tests.helpers import cli


@pytest.fixture(params=["clit", "liif-plain", "lit"])
def plan(request, plans):
    return Plan.open(plans[request.param])


def test_the_shapes_are_those_of_build(plan, machine, tmp_path):
    unpack(plan, tmp_path / "graphs", SMALL)
    built, _ = build_engines(plan, machine.trt, BuildOptions(), limits=SMALL, gpu=machine.cuda.gpu)
    shapes = json.loads((tmp_path / "graphs" / "shapes.json").read_text())
    engines = built.manifest.engines[-1].engines
    assert shapes == {engine.graph: engine.profiles for engine in engines}
    for engine in engines:
        assert (tmp_path / "graphs" / engine.graph).read_bytes() == plan.read(engine.graph)


def test_the_lines_name_every_profile_of_every_graph(plan, tmp_path):
    unpack(plan, tmp_path)
    shapes = json.loads((tmp_path / "shapes.json").read_text())
    lines = [
        words
        for line in (tmp_path / "commands.sh").read_text().splitlines()
        if (words := shlex.split(line, comments=True)) and words[0] != "set"
    ]
    assert [words[0] for words in lines] == ["trtexec", "polygraphy"] * len(shapes)
    for (name, profiles), build, check in zip(shapes.items(), lines[::2], lines[1::2], strict=True):
        assert build[1:4] == [f"--onnx={name}", "--stronglyTyped", "--noTF32"]
        for k, kind in enumerate(("min", "opt", "max")):
            wanted = [
                ",".join(f"{x}:{'x'.join(map(str, three[k]))}" for x, three in profile.items())
                for profile in profiles
            ]
            flag = f"--{kind}Shapes="
            assert [word.removeprefix(flag) for word in build if word.startswith(flag)] == wanted
            assert check.count(f"--trt-{kind}-shapes") == len(profiles)
        assert check[:6] == ["polygraphy", "run", name, "--trt", "--onnxrt", "--strongly-typed"]


def test_files_stay_unless_they_may_be_overwritten(plans, tmp_path):
    plan = Plan.open(plans["liif-plain"])
    unpack(plan, tmp_path / "graphs")
    with pytest.raises(OutputExistsError, match=r"encoder.onnx exists; add --force"):
        unpack(plan, tmp_path / "graphs")
    unpack(plan, tmp_path / "graphs", EngineLimits(chunk=2), force=True)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        unpack(plan, tmp_path / "file")
    with pytest.raises(BuildError, match="INT8 graphs for CPUs"):
        unpack(plan.replaced({}, precision="int8"), tmp_path / "other")


def test_the_commands(plans, tmp_path):
    done = cli("unpack", plans["liif-plain"], "-o", tmp_path / "graphs", "--chunk", "2")
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "graphs" / "commands.sh") in done.stdout.splitlines()
    fails(cli("unpack", plans["liif-plain"], "-o", tmp_path / "graphs"), "--force")
    fails(cli("strip", "liif"), "part of the package", code=2)
    done = cli("strip", "liif", "-o", tmp_path / "bare.plan")
    assert done.returncode == 0, done.stderr
    assert Plan.open(tmp_path / "bare.plan").manifest == Plan.open(find_plan("liif")).manifest
