"""Every model of the package: it is small, described, whole, and works by its name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import clit_deploy
from clit_deploy.errors import MissingFileError
from clit_deploy.plan.plan_file import Plan
from clit_deploy.zoo.named_models import FOLDER, default_model, find_plan, named_models
from tests.helpers import ROOT, cli, photo

PACKAGE = Path(clit_deploy.__file__).parent


@pytest.mark.parametrize("name", named_models())
def test_a_model_of_the_list_upscales(name):
    with clit_deploy.load(name, runtime="cpu") as up:
        output = up.upscale(photo(9, 8), scale=2.5)
    assert output.shape == (22, 20, 3)
    assert output.std() > 0.01


@pytest.mark.parametrize("name", named_models())
def test_a_model_is_small_whole_and_described(name):
    model = named_models()[name]
    assert model.plan.stat().st_size <= 8_000_000
    plan = Plan.open(model.plan)
    assert plan.manifest.family == model.family.lower()
    assert not plan.manifest.engines, "nothing is built into the plans of the package"
    for member in plan.manifest.digests:
        plan.read(member)
    assert model.card.startswith(f"# {name}\n")
    assert model.license in model.card
    assert f"`{name}`" in (ROOT / "NOTICE").read_text()
    for data, by_scale in model.psnr.items():
        for scale, value in by_scale.items():
            assert f"| x{scale} | {value:.2f} |" in model.card, (data, scale)


def test_there_is_one_plan_and_one_card_for_each_model():
    for suffix in (".plan", ".md"):
        assert {path.stem for path in FOLDER.glob(f"*{suffix}")} == set(named_models())


def test_the_data_of_the_package_are_small():
    data = [p for p in PACKAGE.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")]
    assert sum(path.stat().st_size for path in data) < 25_000_000


def test_a_file_comes_before_a_model_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = default_model().name
    (tmp_path / "folder" / name).mkdir(parents=True)
    assert find_plan(name) == default_model().plan
    shutil.copy(default_model().plan, tmp_path / name)
    assert find_plan(name) == Path(name)
    assert find_plan("folder") == Path("folder")
    assert find_plan(f"./{name}") == Path(name)
    assert find_plan("other.plan") == Path("other.plan")


def test_an_unknown_name_is_answered_with_the_names_there_are():
    with pytest.raises(MissingFileError, match=r"no model named 'lif'; the models are: clit, liif"):
        clit_deploy.load("lif")
    with pytest.raises(MissingFileError) as raised:
        find_plan("x" * 5000)
    assert len(str(raised.value)) < 400


def test_the_command_lists_models_and_prints_cards():
    done = cli("models", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [model["name"] for model in document["models"]] == list(named_models())
    assert [model["default"] for model in document["models"]].count(True) == 1
    shown = cli("models").stdout
    for model in named_models().values():
        assert model.name in shown
        assert model.license in shown
    assert cli("models", "liif").stdout.rstrip() == named_models()["liif"].card.rstrip()
    unknown = cli("models", "nobody")
    assert unknown.returncode == 1
    assert "the models are: clit, liif" in unknown.stderr


def test_a_model_of_the_package_is_not_written_to():
    done = cli("build", "liif")
    assert done.returncode == 2, done.stderr
    assert "-o liif.plan" in done.stderr
