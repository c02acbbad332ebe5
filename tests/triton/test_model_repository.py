"""The command and the files that it writes; no server is needed."""

from __future__ import annotations

import ast
import dataclasses
import re

import numpy as np
import pytest

from clit_deploy.config import RuntimeName
from clit_deploy.errors import OptionError, OutputExistsError, PlanError
from clit_deploy.plan.plan_file import Plan
from clit_deploy.system import memory
from clit_deploy.triton.image_request import ImageRequest
from clit_deploy.triton.model_config import config_text
from clit_deploy.triton.model_repository import write_repository
from clit_deploy.triton.model_settings import BYTES_PER_PIXEL, USUAL_PIXELS, ModelSettings
from tests.cli.test_cli import fails
from tests.helpers import cli

ALL = ModelSettings(
    runtime=RuntimeName.CPU, threads=3, max_memory="2GB", rebuild=False, device="a 'b' \"c\"",
    max_pixels=1000, instances=2, queue=7,
)  # fmt: skip


def test_the_command_writes_a_repository(tiny_plan, tmp_path):
    folder = tmp_path / "models"
    done = cli("triton", tiny_plan, "-o", folder, "--name", "big", "--instances", 2, "--queue", 9,
               "--max-pixels", 5000, "--runtime", "cpu", "--threads", 1)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(folder / "big")
    assert str(folder / "README.md") in done.stderr
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {"README.md", "big/config.pbtxt", "big/1/model.py", "big/1/model.plan"}
    assert Plan.open(folder / "big/1/model.plan").digest == Plan.open(tiny_plan).digest
    ast.parse((folder / "big/1/model.py").read_text())
    config = (folder / "big/config.pbtxt").read_text()
    assert "instance_group [ { kind: KIND_CPU count: 2 } ]" in config
    assert "max_queue_size: 9" in config
    assert list(tmp_path.iterdir()) == [folder]


def test_a_model_of_the_package_by_its_name(tmp_path):
    assert cli("triton", "-e", "liif", "-o", tmp_path / "models").returncode == 0
    assert (tmp_path / "models/upscale/1/model.plan").is_file()


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (["nosuch"], "no model named 'nosuch'", 1),
        (["nosuch.plan"], "nosuch.plan", 1),
        (["README.md"], "README.md", 1),
        ([], "No plan is named", 2),
        (["liif", "--name", "a/b"], "'a/b' is not a valid model name", 2),
        (["liif", "--instances", "0"], "instances is 0", 2),
        (["liif", "--threads", "0"], "threads is 0", 2),
        (["liif", "--max-memory", "much"], "'much' is not a valid memory size", 2),
        (["liif", "-o", "missing/models"], "missing", 1),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(tmp_path, arguments, words, code):
    if "-o" not in arguments:
        arguments = [*arguments, "-o", tmp_path / "models"]
    fails(cli("triton", *arguments), words, code=code)
    assert list(tmp_path.iterdir()) == []


def test_what_exists_stays(tiny_plan, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/mine").write_text("kept")
    fails(cli("triton", tiny_plan, "-o", tmp_path / "models"), "exists and is not empty")
    assert [path.name for path in tmp_path.rglob("*")] == ["models", "mine"]
    (tmp_path / "models/mine").unlink()
    assert cli("triton", tiny_plan, "-o", tmp_path / "models").returncode == 0
    with pytest.raises(OutputExistsError):
        write_repository(Plan.open(tiny_plan), tmp_path / "models", "upscale", ALL)


def test_a_damaged_plan_leaves_nothing(tiny_plan, tmp_path):
    content = bytearray(tiny_plan.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    (tmp_path / "damaged.plan").write_bytes(content)
    with pytest.raises(PlanError, match="damaged"):
        write_repository(Plan.open(tmp_path / "damaged.plan"), tmp_path / "models", "upscale", ALL)
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.plan"]


@pytest.mark.parametrize("settings", [ModelSettings(), ALL])
def test_settings_survive_the_configuration(settings):
    """Triton reads the text and gives the model what is in it as JSON."""
    text = config_text("upscale", settings)
    pairs = re.findall(r'key: "(.*?)" value: \{ string_value: ("(?:[^"\\]|\\.)*") \}', text)
    config = {
        "parameters": {key: {"string_value": ast.literal_eval(value)} for key, value in pairs},
        "instance_group": [{"count": settings.instances}],
    }
    read = ModelSettings.of_config(config)
    assert dataclasses.replace(read, queue=settings.queue) == settings


@pytest.mark.parametrize(
    ("name", "text"),
    [("threads", "x"), ("threads", "0"), ("rebuild", "maybe"), ("runtime", "gpu"),
     ("max_memory", "much"), ("max_pixels", "-4")],
)  # fmt: skip
def test_parameters_that_somebody_wrote_by_hand(name, text):
    config = {"parameters": {name: {"string_value": text}}, "instance_group": [{"count": 1}]}
    with pytest.raises(OptionError, match=re.escape(text)):
        ModelSettings.of_config(config)


@pytest.mark.parametrize(
    ("runtime", "kind"),
    [("auto", "KIND_AUTO"), ("cpu", "KIND_CPU"), ("tensorrt", "KIND_GPU"), ("cuda", "KIND_GPU")],
)
def test_the_runtime_decides_where_instances_are(runtime, kind):
    assert f"kind: {kind} count" in config_text("m", ModelSettings(runtime=RuntimeName(runtime)))


def test_limits_follow_memory(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 10**9)
    monkeypatch.setattr(memory, "resident", lambda: 10**8)
    one, four = ModelSettings(), ModelSettings(instances=4)
    assert one.memory_of_instance() is None
    assert four.memory_of_instance() == 10**8 + 10**9 // 4
    assert ModelSettings(max_memory="1GB", instances=4).memory_of_instance() == 10**9
    assert one.pixel_limit(64 * 10**6) == 64 * 10**6 // BYTES_PER_PIXEL
    monkeypatch.setattr(memory, "available", lambda: 10**12)
    assert one.pixel_limit(None) == USUAL_PIXELS
    assert ALL.pixel_limit(None) == 1000


def test_numbers_are_those_that_a_client_wrote():
    tensors = {
        "PIXELS": np.zeros((9, 9, 3), np.uint8),
        "SCALE": np.array([2.7], np.float32),
        "REGION": np.array([0.1, 0, 3.3, 2], np.float32),
    }
    request = ImageRequest.of(tensors, {"IMAGE", "PIXELS"})
    assert (request.wanted.scale, request.wanted.region) == (2.7, (0.1, 0, 3.3, 2))
    assert request.suffix == ".png"
    assert ImageRequest.of(tensors, {"PIXELS"}).suffix is None
