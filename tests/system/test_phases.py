"""Phases: those of the thread that waits, and none of its workers'."""

import itertools
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

import clit_deploy
from clit_deploy.system.phases import Recorder, phase
from clit_deploy.tasks.output_size import OutputSize
from clit_deploy.tasks.upscale_file import upscale_file
from tests.helpers import photo


def test_a_phase_is_as_long_as_its_work():
    with Recorder() as recorder:
        with phase("short"):
            pass
        with phase("long"):
            time.sleep(0.02)
    short, long = recorder.phases
    assert (short.name, long.name) == ("short", "long")
    assert short.start <= short.stop <= long.start
    assert long.stop - long.start >= 20_000_000 > short.stop - short.start


def test_nothing_is_recorded_outside_and_by_workers():
    recorder = Recorder()

    def work():
        with phase("worker"):
            pass

    with ThreadPoolExecutor(1) as pool:
        with recorder:
            pool.submit(work).result()
            with phase("own"):
                pass
        with phase("after"):
            pass
    assert [s.name for s in recorder.phases] == ["own"]


def test_recorders_nest():
    with Recorder() as outer:
        with Recorder() as inner, phase("inside"):
            pass
        with phase("outside"):
            pass
    assert [s.name for s in inner.phases] == ["inside"]
    assert [s.name for s in outer.phases] == ["outside"]


def test_a_run_tells_its_phases_in_order_without_overlap(plans, tmp_path):
    source, target = tmp_path / "a.png", tmp_path / "b.png"
    Image.fromarray(photo(20, 24)).save(source)
    with clit_deploy.load(plans["clit"]) as up, Recorder() as recorder:
        upscale_file(up, source, target, OutputSize(scale=12))
    phases = recorder.phases
    assert all(a.stop <= b.start for a, b in itertools.pairwise(phases))
    names = list(dict.fromkeys(s.name for s in phases))
    assert names[:3] == ["prepare", "read", "encoder"]
    assert names[-2:] == ["base", "write"]
    for stage in ("stage0", "stage1"):
        for part in ("project", "tables", "decode"):
            assert f"{stage}.{part}" in names
    with Image.open(target) as image:
        assert np.asarray(image).shape == (240, 288, 3)
