"""What `clit-deploy ray` refuses before it talks to Ray; none of it needs a cluster."""

from __future__ import annotations

import importlib.util
import re
import socket
import time

import pytest
from PIL import Image

from clit_deploy.errors import ClusterError, MissingDependencyError, OptionError, OutputError
from clit_deploy.ray import cluster_run
from clit_deploy.ray.cluster_request import portable
from tests.helpers import cli, photo

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed"
)


@pytest.fixture
def image(tmp_path):
    Image.fromarray(photo(12, 12)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def unused_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@needs_ray
def test_a_head_that_does_not_answer_is_an_error_within_seconds(image, tiny_plan, tmp_path):
    address = f"127.0.0.1:{unused_port()}"
    start = time.monotonic()
    done = cli("ray", image, "-e", tiny_plan, "-s", "2", "-o", tmp_path / "b.png",
               "--address", address)  # fmt: skip
    assert time.monotonic() - start < 20
    assert done.returncode == 1
    assert f"No Ray head answers at {address} (Connection refused)." in done.stderr


@pytest.mark.slow
@needs_ray
def test_what_is_not_ray_is_an_error(image, tiny_plan, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        done = cli("ray", image, "-e", tiny_plan, "-s", "2", "-o", tmp_path / "b.png",
                   "--address", address)  # fmt: skip
    assert done.returncode == 1
    assert f"{address} accepts connections but does not answer like a Ray head." in done.stderr


@pytest.mark.parametrize("address", ["nonsense", "ray://10.0.0.1:10001", ":6379", "host:", "a:b"])
def test_what_is_not_an_address(address):
    with pytest.raises(OptionError, match="is not the address of a Ray head; write it like"):
        cluster_run.chosen_address(address)


def test_the_address_of_the_environment(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{unused_port()}")
    with pytest.raises(ClusterError, match="No Ray head answers at 127"):
        cluster_run.chosen_address(None)
    assert cluster_run.chosen_address("auto") == "auto"
    monkeypatch.delenv("RAY_ADDRESS")
    assert cluster_run.chosen_address(None) is None


def test_ray_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(cluster_run, "_is_installed", lambda name: name != "ray")
    with pytest.raises(MissingDependencyError, match=r"needs ray, which is not installed; .*ray"):
        cluster_run.check_ray()


@needs_ray
@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--in-place"], 2, "--in-place is not for a cluster"),
        (["--tiles", "--resume"], 2, "leave out --resume"),
        (["--actors", "0"], 2, "--actors is 0"),
        (["--gpus", "1.5"], 2, "--gpus is 1.5"),
        (["-o", "-"], 2, "A cluster needs files"),
        (["-o", "{file}/"], 1, "is not a folder; several results need one"),
        (["--manifest", "{file}"], 1, "Line 1 of .* is not one of a manifest"),
    ],
)
def test_invalid_requests(image, tiny_plan, tmp_path, more, code, message):
    file = tmp_path / "file.txt"
    file.write_text("notes\n")
    more = [word.format(file=file) for word in more]
    done = cli("ray", image, "-e", tiny_plan, "-s", "2", "--address", "auto", *more)
    assert done.returncode == code, done.stderr
    assert re.search(message, done.stderr), done.stderr
    assert file.read_text() == "notes\n"


def test_errors_of_workers_can_travel():
    found = portable(OutputError(28, "a.png cannot be written: the disk is full."))
    assert isinstance(found, OutputError)
    assert found.errno == 28
    assert str(portable(KeyError("x"))) == "Unexpected KeyError on a worker: 'x'"
    assert "Out of memory" in str(portable(MemoryError()))
