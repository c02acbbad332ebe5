"""Engines in a plan's file: all of a build or nothing, and nothing that computes something else."""

from __future__ import annotations

import contextlib
import hashlib
import os

import numpy as np
import pytest

from clit_deploy.engines import store
from clit_deploy.engines.build import EngineLimits
from clit_deploy.engines.store import build_into, open_verified, strip_engines
from clit_deploy.errors import BuildError, EngineError, OptionError, OutputError
from clit_deploy.plan.plan_file import Plan
from clit_deploy.runtimes.trt.engine_builder import BuildOptions
from clit_deploy.runtimes.trt.tensorrt_api import Flavour
from clit_deploy.system import jetson as machine_module
from clit_deploy.system.jetson import Jetson
from clit_deploy.system.locks import locked
from clit_deploy.upscaler import Upscaler
from tests.fakes.machine import Machine
from tests.helpers import photo

SMALL = EngineLimits(tile=48, block=64, chunk=2)


OTHER = EngineLimits(tile=64, block=64, chunk=2)


def build(path, machine, *, device=True, limits=SMALL, **options):
    targets = (machine.cuda.gpu.capability,) if machine.trt.is_rtx else ()
    return build_into(
        Plan.open(path),
        machine.trt,
        BuildOptions(targets),
        limits,
        machine.cuda if device else None,
        **options,
    )


def members(path, folder="engines/"):
    return {name for name in Plan.open(path).manifest.digests if name.startswith(folder)}


# -- what a build leaves -------------------------------------------------------------------------


def test_engines_land_beside_the_graphs_with_all_that_they_depend_on(path, machine):
    before = Plan.open(path)
    build(path, machine)
    plan = Plan.open(path)
    (made,) = plan.manifest.engines
    assert (made.flavour, made.version, made.targets) == ("tensorrt", "10.3.0", ("8.6",))
    assert (made.gpu, made.driver) == ("Fake GPU", "12.6")
    assert (made.tile, made.block, made.times) == (48, 64, 2)
    assert made.relative_error is not None
    assert made.relative_error <= 1e-5
    graphs = {name for name in before.manifest.digests if name.endswith(".onnx")}
    assert {engine.graph for engine in made.engines} == graphs
    for engine in made.engines:
        assert engine.digest == hashlib.sha256(plan.read(engine.graph)).hexdigest()
        assert plan.read(engine.member).startswith(b"FAKEENGINE")
    assert all(plan.read(name) == before.read(name) for name in before.manifest.digests)


def test_a_second_build_replaces_its_own_engines_and_keeps_the_others(path, machine):
    build(path, machine)
    build(path, Machine.make(version="11.4.1"))
    build(path, Machine.make(Flavour.RTX))
    build(path, machine, limits=OTHER)
    engines = Plan.open(path).manifest.engines
    assert [(x.flavour, x.version, x.tile) for x in engines] == [
        ("tensorrt", "11.4.1", 48),
        ("tensorrt-rtx", "10.3.0", 48),
        ("tensorrt", "10.3.0", 64),
    ]
    assert members(path) == {engine.member for x in engines for engine in x.engines}


def test_the_same_targets_in_another_order_are_the_same_engines(path):
    machine = Machine.make(Flavour.RTX)
    for targets in (("12.0", "8.6"), ("8.6", "12.0", "8.6")):
        build_into(Plan.open(path), machine.trt, BuildOptions(targets), SMALL, None)
    (made,) = Plan.open(path).manifest.engines
    assert made.targets == ("8.6", "12.0")
    assert machine.module.configs[-1].num_compute_capabilities == 2


def test_engines_may_go_into_another_file(path, machine, tmp_path):
    before = path.read_bytes()
    made = build(path, machine, target=tmp_path / "other.plan")
    assert path.read_bytes() == before
    assert (
        len(made.manifest.engines) == len(Plan.open(tmp_path / "other.plan").manifest.engines) == 1
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "model.plan", "other.plan"]


def test_the_next_build_knows_the_timings_of_the_last(path, machine, empty_cache, tmp_path):
    build(path, machine)
    (kept,) = empty_cache.glob("timing-*")
    first = kept.read_bytes()
    assert set(first) == {ord("+")}
    build(path, machine, limits=OTHER)
    assert kept.read_bytes() == 2 * first
    build(path, machine, timing_cache=tmp_path / "own.cache")
    assert (tmp_path / "own.cache").read_bytes() == first
    assert kept.read_bytes() == 2 * first


def test_rtx_has_no_timings_to_keep(path, tmp_path):
    machine = Machine.make(Flavour.RTX)
    with leaves_all(path, OptionError, "--timing-cache is not allowed"):
        build(path, machine, timing_cache=tmp_path / "own.cache")
    assert not machine.module.configs


def test_engines_that_are_there_and_fit_are_not_built_again(path, machine, tmp_path, caplog):
    build(path, machine)
    build(path, Machine.make(version="11.4.1"))
    made = len(machine.module.configs)
    build(path, machine)
    newer_driver = Machine.make(driver=13000)
    build(path, newer_driver, target=tmp_path / "other.plan")
    assert len(machine.module.configs) == made
    assert not newer_driver.module.configs
    assert "model.plan has engines of TensorRT 10.3.0 for 8.6" in caplog.text
    for file in (path, tmp_path / "other.plan"):
        versions = [x.version for x in Plan.open(file).manifest.engines]
        assert versions == ["11.4.1", "10.3.0"], "the named ones come first for the next run"
    build(path, machine, limits=OTHER)
    assert len(machine.module.configs) > made


def test_damaged_engines_are_built_again(path, machine):
    plan = build(path, machine)
    bad = plan.manifest.engines[0].engines[0].member
    path.write_bytes(path.read_bytes().replace(b"FAKEENGINE", b"fakeengine", 1))
    made = len(machine.module.configs)
    build(path, machine)
    assert len(machine.module.configs) > made
    assert Plan.open(path).read(bad).startswith(b"FAKEENGINE")


def test_engines_without_a_check_are_checked_where_their_device_is(path, monkeypatch):
    machine = Machine.make(Flavour.RTX)
    build(path, machine, device=False)
    made = len(machine.module.configs)
    build(path, machine, device=False)
    assert Plan.open(path).manifest.engines[0].relative_error is None
    build(path, machine)
    assert len(machine.module.configs) == made
    assert Plan.open(path).manifest.engines[0].relative_error is not None


def test_engines_are_removed_and_everything_else_stays(path, machine, tmp_path):
    before = Plan.open(path)
    build(path, machine)
    engines = path.stat().st_size
    strip_engines(Plan.open(path), tmp_path / "bare.plan")
    assert path.stat().st_size == engines
    strip_engines(Plan.open(path))
    for file in (path, tmp_path / "bare.plan"):
        bare = Plan.open(file)
        assert bare.manifest == before.manifest
        assert all(bare.read(name) == before.read(name) for name in before.manifest.digests)


# -- one at a time -------------------------------------------------------------------------------


def test_of_two_builds_at_once_the_second_is_refused(path, machine):
    refused = []

    def second(step):
        """While the first one builds."""
        with pytest.raises(OutputError, match="Another process is building engines into") as caught:
            build(path, Machine.make(version="11.4.1"))
        refused.append(caught)

    build(path, machine, progress=second)
    assert len(refused) > 2, "a refusal lets nobody in"
    assert [x.version for x in Plan.open(path).manifest.engines] == ["10.3.0"]
    build(path, Machine.make(version="11.4.1"))
    assert len(Plan.open(path).manifest.engines) == 2, "and the lock ends with the build"
    assert not list(path.parent.glob(".*"))


def test_a_lock_that_its_holder_removed_keeps_nobody_out(tmp_path, monkeypatch):
    """Between opening the file and locking it, its holder may finish and remove it."""
    path, lock, real = tmp_path / "x", tmp_path / ".x.lock", os.open
    removed = []

    def slowly(*args):
        handle = real(*args)
        if not removed:
            removed.append(lock.unlink())
        return handle

    monkeypatch.setattr(os, "open", slowly)
    with (
        locked(path, "changing"),
        pytest.raises(OutputError, match="Another process is changing"),
        locked(path, "changing"),
    ):
        pytest.fail("two at once")
    assert not lock.exists()


def test_a_build_begins_from_what_the_file_holds_now(path, machine):
    """Another process may have built since the plan was opened."""
    early = Plan.open(path)
    build(path, Machine.make(version="11.4.1"))
    build_into(early, machine.trt, BuildOptions(), SMALL, machine.cuda)
    assert {x.version for x in Plan.open(path).manifest.engines} == {"11.4.1", "10.3.0"}


# -- failures ------------------------------------------------------------------------------------


def leaves_all(path, error, words):
    """A context in which an error is raised and the plan stays byte for byte what it was."""
    before = path.read_bytes()

    @contextlib.contextmanager
    def held():
        with pytest.raises(error, match=words):
            yield
        assert path.read_bytes() == before
        assert not list(path.parent.glob(".*"))

    return held()


def test_a_build_that_fails_leaves_the_plan_as_it_was(path, machine):
    build(path, Machine.make(version="11.4.1"))
    made = []

    def fails_at_the_third(step):
        made.append(step)
        if len(made) == 3:
            raise BuildError("TensorRT cannot build.")

    with leaves_all(path, BuildError, "cannot build"):
        build(path, machine, progress=fails_at_the_third)


@pytest.mark.parametrize("noise", [0.5, np.nan])
def test_engines_that_compute_something_else_are_not_kept(path, noise):
    machine = Machine.make(noise=noise)
    with leaves_all(path, EngineError, r"Fake GPU\) has an error of .*Build them again"):
        build(path, machine)
    assert machine.api.used == 0
    assert not machine.api.streams


def test_wrong_engines_on_jetpack_6_come_with_the_remedy(path, monkeypatch):
    monkeypatch.setattr(machine_module, "jetson", lambda: Jetson("Orin", "36.4.3"))
    with leaves_all(path, EngineError, "known to compute some models wrong: install 10.7 or newer"):
        build(path, Machine.make(noise=0.5))


def test_a_small_error_is_kept_as_a_figure(path):
    build(path, Machine.make(noise=1e-5))
    (made,) = Plan.open(path).manifest.engines
    assert 1e-6 < made.relative_error < 2e-3


def test_a_plan_that_is_no_file_cannot_keep_engines(path, machine):
    plan = machine.built(Plan.open(path))
    with pytest.raises(OutputError, match="not in a file"):
        build_into(plan, machine.trt, BuildOptions(), SMALL, machine.cuda)


# -- engines from elsewhere ----------------------------------------------------------------------


def counted(monkeypatch):
    compared, real = [], store.check_engines
    monkeypatch.setattr(store, "check_engines", lambda *a: compared.append(a) or real(*a))
    return compared


def use(plan, machine):
    runtime = open_verified(plan, machine.trt, plan.manifest.engines[-1], machine.cuda)
    with Upscaler(plan, runtime=runtime) as up:
        return up.upscale(photo(5, 5), scale=2)


def test_engines_built_without_a_device_are_compared_at_first_use_and_once(
    path, monkeypatch, caplog
):
    compared, machine = counted(monkeypatch), Machine.make(Flavour.RTX)
    plan = build(path, machine, device=False)
    assert plan.manifest.engines[0].relative_error is None
    assert plan.manifest.engines[0].driver is None
    assert not compared
    for _ in range(3):
        use(plan, machine)
    assert len(compared) == 1
    assert caplog.text.count("are new on this device") == 1
    use(plan, Machine.make(Flavour.RTX, driver=13000))
    assert len(compared) == 2, "another driver compiles them anew"


def test_rtx_compares_the_kernels_that_are_going_to_run(path):
    """Not those that stand in for them while they are compiled; a picture does not wait."""
    machine = Machine.make(Flavour.RTX)
    plan = build(path, machine)
    compared = len(machine.module.eager)
    assert machine.module.eager == [True] * compared
    assert compared > 3
    use(plan, machine)
    assert set(machine.module.eager[compared:]) == {False}


def test_engines_that_were_compared_when_built_are_trusted(path, machine, monkeypatch):
    plan = build(path, machine)
    compared = counted(monkeypatch)
    use(plan, machine)
    assert not compared


def test_wrong_engines_from_elsewhere_are_refused_every_time(path):
    machine = Machine.make(Flavour.RTX, noise=0.5)
    plan = build(path, machine, device=False)
    for _ in range(2):
        with pytest.raises(EngineError, match="has an error of"):
            use(plan, machine)


def test_engines_for_another_device_are_not_compared_here(path, monkeypatch, caplog):
    compared, machine = counted(monkeypatch), Machine.make(Flavour.RTX, capability=(8, 9))
    made = build_into(Plan.open(path), machine.trt, BuildOptions(("8.6",)), SMALL, machine.cuda)
    assert not compared
    assert made.manifest.engines[0].relative_error is None
    assert "built for compute capability 8.6, not 8.9" in caplog.text
