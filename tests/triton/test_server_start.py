"""How the real server starts, and what it says where it cannot."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from benchmarks.triton_server import serving
from clit_deploy.plan.plan_file import Plan
from clit_deploy.triton.model_repository import write_repository
from clit_deploy.triton.model_settings import ModelSettings
from tests.helpers import photo
from tests.triton.conftest import Client

pytestmark = pytest.mark.triton


@pytest.fixture
def repository(triton_environment, tiny_plan, tmp_path):
    settings = ModelSettings(instances=2)
    write_repository(Plan.open(tiny_plan), tmp_path / "models", "upscale", settings)
    return tmp_path / "models"


def refuses(environment, repository, work):
    with pytest.raises(RuntimeError) as found, serving(environment, repository, work):
        pass
    return str(found.value)


def test_several_instances(triton_environment, repository, tmp_path):
    with serving(triton_environment, repository, tmp_path) as server:
        assert len(server.instances()) == 2

        def ask(_):
            with Client("grpc", server.grpc) as client:
                return client.ask("PIXELS", PIXELS=photo(8, 8), SCALE=2)

        with ThreadPoolExecutor(4) as pool:
            first, *others = pool.map(ask, range(8))
        assert all(np.array_equal(first, other) for other in others)


def test_models_that_cannot_be_loaded(triton_environment, repository, tmp_path):
    """One has a parameter that is not valid, the other a plan that is not one."""
    shutil.copytree(repository / "upscale", repository / "other")
    config = (repository / "upscale/config.pbtxt").read_text()
    before = '"threads" value: { string_value: "auto"'
    many = config.replace(before, before.replace("auto", "many"))
    (repository / "upscale/config.pbtxt").write_text(many)
    (repository / "other/config.pbtxt").write_text(config.replace('"upscale"', '"other"'))
    (repository / "other/1/model.plan").write_bytes(b"damaged")
    said = refuses(triton_environment, repository, tmp_path)
    assert "The parameter threads is 'many'; write a whole number or auto." in said
    assert "model.plan is not a plan" in said


def test_a_triton_without_the_python_backend(triton_environment, repository, tmp_path):
    (tmp_path / "backends").mkdir()
    said = refuses(triton_environment, repository, tmp_path)
    assert "unable to find backend library for backend 'python'" in said


@pytest.mark.skipif(np.__version__ < "2", reason="this Python has numpy 1")
def test_a_numpy_that_this_triton_cannot_use(triton_environment, repository, tmp_path):
    """The process would die at the first request."""
    if triton_environment.version != "{}.{}".format(*sys.version_info):
        pytest.skip("the tests run on another Python than Triton")
    other = dataclasses.replace(triton_environment, folder=Path(sys.prefix))
    said = refuses(other, repository, tmp_path)
    assert f"This Triton cannot use numpy {np.__version__}; install 'numpy<2'" in said
