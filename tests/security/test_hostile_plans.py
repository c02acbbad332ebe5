"""Plans of strangers: local files stay unread, and memory stays small.

Each test fails on code that trusts the plan's own digests. `.ci/run` repeats the graphs and arrays
on the oldest ONNX Runtime.
"""

from __future__ import annotations

import contextlib
import time
import zipfile

import numpy as np
import pytest

import clit_deploy
from clit_deploy.calibration.fp16 import fp16_plan
from clit_deploy.errors import DamageError, GraphError, PlanError
from clit_deploy.plan import plan_file
from clit_deploy.plan.plan_file import Plan
from clit_deploy.quality.parity import stored_samples
from clit_deploy.quality.verify import verify_plan
from clit_deploy.system import memory
from tests.fakes.machine import Machine
from tests.security.hostile import (
    ARRAYS,
    BYTES,
    GRAPHS,
    LOCAL_FILE,
    bomb,
    changed,
    graph_with,
    members_of,
    npz,
    overlapping,
    write,
)

MOST_MEMORY = 50_000_000
MOST_SECONDS = 5


@pytest.fixture(scope="module")
def honest(honest_plan):
    return members_of(honest_plan)


@pytest.fixture(autouse=True)
def secret(tmp_path, monkeypatch):
    """A file of numbers that would be good weights, in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / LOCAL_FILE).write_bytes(np.linspace(-0.1, 0.1, 100_000, dtype=np.float32).tobytes())


@pytest.mark.parametrize("change", [*GRAPHS, *BYTES])
def test_a_hostile_graph_is_refused_before_a_runtime_sees_it(honest, tmp_path, change):
    manifest, members = honest
    graph = graph_with(change, members["encoder.onnx"])
    path = write(tmp_path / "evil.plan", manifest, {**members, "encoder.onnx": graph})
    with (
        pytest.raises(GraphError, match=r"^evil\.plan is refused: in its graph encoder\.onnx, "),
        clit_deploy.load(path, runtime="cpu") as up,
    ):
        up.upscale(np.zeros((9, 9, 3), np.uint8), scale=2)


def test_the_same_graph_without_changes_is_accepted(honest, tmp_path):
    manifest, members = honest
    with clit_deploy.load(write(tmp_path / "fine.plan", manifest, members), runtime="cpu") as up:
        assert up.upscale(np.zeros((9, 9, 3), np.uint8), scale=2).shape == (18, 18, 3)


@pytest.mark.parametrize("consumer", ["load", "build", "convert", "verify", "save"])
def test_every_consumer_of_a_graph_passes_the_check(honest_plan, tmp_path, monkeypatch, consumer):
    def refuse(*_):
        raise GraphError("nothing passes.")

    plan = Plan.open(honest_plan)
    monkeypatch.setattr(plan_file, "check_safe", refuse)
    with pytest.raises(GraphError, match="nothing passes"):
        use(consumer, plan, tmp_path)


def use(consumer, plan, tmp_path):
    if consumer == "load":
        with clit_deploy.load(plan.path, runtime="cpu") as up:
            up.upscale(np.zeros((9, 9, 3), np.uint8), scale=2)
    elif consumer == "build":
        Machine.make().built(plan)
    elif consumer == "convert":
        fp16_plan(plan, lambda step: None)
    elif consumer == "verify":
        verify_plan(plan)
    else:
        plan.save(tmp_path / "copy.plan")


# -- bombs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["manifest.json", "encoder.onnx"])
def test_a_compressed_member_is_refused_unread(tmp_path, name):
    path = bomb(tmp_path / "bomb.plan", name)
    assert path.stat().st_size < 1_000_000
    with (
        small(),
        pytest.raises(PlanError, match=rf"plan is refused: .*{name}' is compressed"),
    ):
        Plan.open(path)


def test_members_that_share_their_bytes_are_refused(honest, tmp_path):
    path = changed(write(tmp_path / "evil.plan", *honest), overlapping)
    with pytest.raises(PlanError, match="members are larger than the file"):
        Plan.open(path)


def test_members_of_one_name_are_refused(honest, tmp_path):
    path = write(tmp_path / "evil.plan", *honest)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("encoder.onnx", b"")
    with pytest.raises(PlanError, match="the same name"):
        Plan.open(path)


@pytest.mark.parametrize("count", [501, 60_000])
def test_too_many_members_are_refused(tmp_path, count):
    path = tmp_path / "many.plan"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", "{}")
        for number in range(count):
            archive.writestr(str(number), b"")
    with small(), pytest.raises(PlanError, match="more than 500 members"):
        Plan.open(path)


def test_a_huge_manifest_is_refused_unread(tmp_path):
    path = tmp_path / "huge.plan"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", "[" + "[]," * 2_000_000 + "[]]")
    with small(), pytest.raises(PlanError, match="manifest is larger than"):
        Plan.open(path)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format": ' + "9" * 5000 + "}"])
def test_a_manifest_that_json_itself_refuses(tmp_path, text):
    path = tmp_path / "deep.plan"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", text)
    with pytest.raises(PlanError, match="manifest cannot be read"):
        Plan.open(path)


@pytest.mark.parametrize("change", ARRAYS)
def test_hostile_arrays_are_refused_by_their_headers(honest, tmp_path, change):
    manifest, members = honest
    path = write(tmp_path / "evil.plan", manifest, {**members, "proof.npz": ARRAYS[change]()})
    with small(), pytest.raises(DamageError, match=r"^evil\.plan is damaged: in proof\.npz, "):
        stored_samples(Plan.open(path))


def test_a_missing_array_is_one_sentence(honest, tmp_path):
    manifest, members = honest
    path = write(tmp_path / "evil.plan", manifest, {**members, "proof.npz": npz({})})
    with pytest.raises(DamageError, match="lacks the array 'scale0'"):
        stored_samples(Plan.open(path))


@contextlib.contextmanager
def small():
    """Neither much time nor much memory."""
    memory.restart_peak()
    before, start = memory.resident(), time.monotonic()
    yield
    assert time.monotonic() - start < MOST_SECONDS
    assert memory.peak() - before < MOST_MEMORY
