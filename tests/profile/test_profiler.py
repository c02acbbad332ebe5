"""What is asked for, what is refused, and what happens when something fails."""

from __future__ import annotations

import csv
import errno
import io
import json
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper
from PIL import Image
from typer.testing import CliRunner

import clit_deploy
from clit_deploy import cli
from clit_deploy.cli import profile_commands
from clit_deploy.errors import (
    GraphRunError,
    MemoryBudgetError,
    MissingFileError,
    OptionError,
    OutputError,
    ProfileError,
    SizeError,
)
from clit_deploy.plan.plan_file import Plan, make_plan
from clit_deploy.profile import profiler
from clit_deploy.profile import row as row_module
from clit_deploy.profile.page import to_html
from clit_deploy.profile.profile_file import Failure, Profile
from clit_deploy.profile.profiler import Request, profile
from clit_deploy.profile.sweep import Sweep
from clit_deploy.profile.text import ENQUEUED, details
from clit_deploy.runtimes.ort import ort_layers
from clit_deploy.runtimes.ort.ort_runtime import OrtRuntime
from clit_deploy.runtimes.protocols import DeviceTime
from clit_deploy.system import memory
from tests.helpers import photo
from tests.profile.tree import unfold


def test_layers_are_timed_on_few_runs_however_many_there_are(plans, picture, tmp_path, monkeypatch):
    """ONNX Runtime keeps what it profiles in memory, and drops it beyond a million events."""
    monkeypatch.setattr(ort_layers, "RUNS", 3)
    sweeps = [Sweep.parse("block=8"), Sweep.parse("threads=3")]
    (row,) = small(plans, picture, sweeps=sweeps, root=tmp_path).rows
    decoder = "stage0.decode.onnx"
    assert next(one.runs for one in row.graphs if one.member == decoder) > 30
    assert {x.runs for x in row.layers if x.member == decoder} == {2}


@pytest.mark.parametrize("broken", [GraphRunError("no room"), MemoryError(), OSError("full")])
def test_layers_that_fail_cost_no_other_figure(plans, picture, tmp_path, monkeypatch, broken):
    def layers(self):
        raise broken

    monkeypatch.setattr(OrtRuntime, "layers", layers)
    (row,) = small(plans, picture, root=tmp_path).rows
    assert row.host_ms.count == 2
    assert row.layers is None
    assert (str(broken) or "MemoryError") in row.unavailable["layers"]


def test_a_profile_that_was_cut_off_gives_no_layers(plans, picture, tmp_path, monkeypatch):
    """As ONNX Runtime's own limit does: the last events are missing."""

    def end_profiling(self):
        path = Path(really(self))
        lines = path.read_text().splitlines()
        last = max(k for k, line in enumerate(lines) if '"model_run"' in line)
        path.write_text("\n".join(lines[:last]))
        return str(path)

    really = ort.InferenceSession.end_profiling
    monkeypatch.setattr(ort.InferenceSession, "end_profiling", end_profiling)
    (row,) = small(plans, picture, root=tmp_path).rows
    assert row.layers is None
    assert re.search(r"has (\d+) of (?!\1 )\d+ runs", row.unavailable["layers"])


def test_idle_power_is_measured_before_a_runtime_is_opened(plans, picture, tmp_path, monkeypatch):
    """A runtime that is open may keep its device awake."""
    opened = []

    class Noting(OrtRuntime):
        def __init__(self, *args, **more):
            opened.append(time.perf_counter())
            super().__init__(*args, **more)

    monkeypatch.setattr("clit_deploy.runtimes.ort.ort_runtime.OrtRuntime", Noting)
    monkeypatch.setattr(profiler, "IDLE_SECONDS", 0.4)
    root, start = unfold("orin-nx-jetpack6", tmp_path, monkeypatch), time.perf_counter()
    small(plans, picture, root=root)
    assert len(opened) >= 2
    assert opened[0] - start >= 0.4


def nulls(value, name=""):
    """The dotted names of what is null in a JSON file."""
    if value is None:
        yield name
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield from nulls(inner, f"{name}.{key}".lstrip("."))
    for inner in value if isinstance(value, list) else ():
        yield from nulls(inner, name)


def test_whatever_is_null_has_a_reason(measured, plans, picture, tmp_path):
    for found in (measured, small(plans, picture, root=tmp_path)):
        content = json.loads(found.to_json())
        for record in (content["machine"], *content["rows"]):
            missing = set(nulls(record))
            assert missing == set(record["unavailable"])
            assert all(record["unavailable"].values())
    assert "memory.device" in measured.rows[0].unavailable
    assert measured.rows[0].device is None


def small(plans, picture, **more):
    return profile(
        Request(
            plan=plans["clit"], image=picture, scales=[2.0], iterations=2, runtime="cpu", **more
        )
    )


def test_few_runs_are_not_comparable(plans, picture, tmp_path):
    (row,) = small(plans, picture, root=tmp_path).rows
    assert row.host_ms.count == 2
    assert any("2 runs do not show" in caveat for caveat in row.caveats)
    assert any("count as floating" in caveat for caveat in row.caveats)
    assert row.power is None
    assert "no power monitor" in row.unavailable["power"]
    assert row.drift is None


def test_tile_and_block_are_followed(plans, picture, tmp_path):
    sweeps = [Sweep.parse("tile=40,64"), Sweep.parse("block=16")]
    rows = small(plans, picture, sweeps=sweeps, root=tmp_path).rows
    assert [(row.tile, row.block) for row in rows] == [(40, 16), (64, 16)]


def test_bad_requests_stop_before_anything_is_measured(plans, picture, tmp_path, monkeypatch):
    monkeypatch.setattr(profiler, "measure_row", None)
    with pytest.raises(MissingFileError, match=r"none\.plan"):
        small(plans, picture, reference=tmp_path / "none.plan")
    black(Plan.open(plans["clit"])).save(tmp_path / "fp16.plan")
    with pytest.raises(ProfileError, match="is fp16"):
        small(plans, picture, reference=tmp_path / "fp16.plan")
    tall = tmp_path / "tall.png"
    Image.fromarray(photo(90, 20)).save(tall)
    with pytest.raises(SizeError, match="halo"):
        small(plans, tall, sweeps=[Sweep.parse("tile=8")])
    with pytest.raises(OptionError, match="cannot be combined"):
        small(plans, picture, sweeps=[Sweep.parse("plan=a.plan,b.plan")])
    with pytest.raises(OptionError, match="cannot be combined"):
        small(plans, picture, seconds=3.0)
    with pytest.raises(MissingFileError):
        profile(Request(image=picture, sweeps=[Sweep.parse(f"plan={plans['liif']},b.plan")]))


def test_what_cannot_fit_is_refused_before_anything_is_measured(plans, picture, monkeypatch):
    monkeypatch.setattr(profiler, "measure_row", None)
    roomy = f"{(memory.resident() + 90_000_000) / 1e6:.0f}MB"
    wanted = Request(plan=plans["clit"], image=picture, scales=[30.0], iterations=1, runtime="cpu")
    sweeps = [Sweep.parse("block=16,4096"), Sweep.parse("threads=1")]
    with pytest.raises(MemoryBudgetError, match="blocks of 4096 need"):
        profile(replace(wanted, sweeps=sweeps, max_memory=roomy))


def failing(monkeypatch, error, *wrong):
    """Let the rows of some tiles fail."""

    def measure(context, case, progress):
        if case.tile in wrong:
            raise error
        return really(context, case, progress)

    really = row_module.measure
    monkeypatch.setattr(row_module, "measure", measure)


@pytest.mark.parametrize("error", [MemoryBudgetError("no room"), MemoryError("no room")])
def test_a_row_that_fails_does_not_cost_the_others(plans, picture, tmp_path, monkeypatch, error):
    failing(monkeypatch, error, 48)
    found = small(plans, picture, sweeps=[Sweep.parse("tile=40,48,64")], root=tmp_path)
    assert [row.tile for row in found.rows] == [40, 64]
    assert found.failed == (Failure({"scale": 2.0, "tile": 48}, "no room"),)
    assert Profile.from_json(found.to_json()) == found
    assert "scale 2, tile 48 could not be measured: no room" in to_html(found)


def test_no_row_at_all_is_an_error(plans, picture, tmp_path, monkeypatch):
    failing(monkeypatch, GraphRunError("it broke"), None, 40, 48)
    with pytest.raises(GraphRunError, match="it broke"):
        small(plans, picture, root=tmp_path)
    with pytest.raises(ProfileError, match="the first: it broke"):
        small(plans, picture, sweeps=[Sweep.parse("tile=40,48")], root=tmp_path)


def test_the_command_keeps_what_was_measured_and_fails(plans, picture, tmp_path, monkeypatch):
    """Rows that fail and files that cannot be written: the others are there, and the table."""
    failing(monkeypatch, MemoryBudgetError("no room"), 64)
    written, page = tmp_path / "a.json", tmp_path / "gone" / "a.html"
    page.parent.mkdir()
    really = profile_commands.replacing

    def replacing(path):
        if path == written:
            raise OutputError(errno.ENOSPC, f"{path} cannot be written: the disk is full.")
        return really(path)

    options = ["--image", picture, "--iterations", 1, "--runtime", "cpu", "--html-file", page]
    options += ["--scale", 2, "--sweep", "tile=40,64", "-e", plans["clit"]]
    done = CliRunner().invoke(cli.app, ["profile", *map(str, options)])
    assert done.exit_code == 1
    assert "scale 2, tile 64 could not be measured: no room" in done.output
    assert "p99" in done.output
    assert page.read_text().startswith("<!doctype html>")
    page.unlink()
    monkeypatch.setattr(profile_commands, "replacing", replacing)
    done = CliRunner().invoke(cli.app, ["profile", *map(str, options), "--json-file", str(written)])
    assert isinstance(done.exception, OutputError)
    assert "p99" in done.output
    assert page.exists()


@pytest.mark.skipif(not memory.CLEAR_REFS.exists(), reason="peaks begin anew on Linux alone")
def test_the_memory_of_a_row_is_its_own(plans, picture, tmp_path):
    """The first row holds 300 MB beside, and lets them go."""
    held = []

    def progress(label, done):
        if "tile=40" in label:
            held.append(np.ones(300_000_000, np.uint8))
        held[1:] = []
        if done >= 0.5:
            held.clear()

    sweeps = [Sweep.parse("tile=40,48")]
    wanted = Request(plan=plans["clit"], image=picture, scales=[2.0], iterations=2, runtime="cpu")
    first, second = profile(replace(wanted, sweeps=sweeps, root=tmp_path), progress).rows
    assert {first.memory.host_peak_from, second.memory.host_peak_from} == {"system"}
    assert first.memory.host_peak - second.memory.host_peak > 250_000_000


def test_a_reference_is_made_once_for_rows_of_a_scale_and_not_held(
    plans, picture, tmp_path, monkeypatch
):
    made = []
    really = np.save
    monkeypatch.setattr("numpy.save", lambda *a: (made.append(a[1].shape[0]), really(*a))[1])
    sweeps = [Sweep.parse("scale=2,3"), Sweep.parse("tile=40,64")]
    rows = small(plans, picture, sweeps=sweeps, root=tmp_path).rows
    assert made == [48, 72]
    assert all(row.quality.psnr_db > 100 for row in rows)


def test_a_reference_that_cannot_be_kept_is_no_quality(plans, picture, tmp_path, monkeypatch):
    def save(path, array):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("numpy.save", save)
    (row,) = small(plans, picture, root=tmp_path).rows
    assert row.quality is None
    assert "No space left" in row.unavailable["quality"]


def black(plan):
    """The same plan, said to be FP16, whose decoders' weights are lost."""
    members = {name: plan.read(name) for name in plan.manifest.digests}
    for stage in plan.manifest.stages:
        model = onnx.load_from_string(members[stage.decode])
        for tensor in model.graph.initializer:
            array = numpy_helper.to_array(tensor)
            if array.dtype.kind == "f" and array.ndim >= 2:
                tensor.CopyFrom(numpy_helper.from_array(array * 0, tensor.name))
        members[stage.decode] = model.SerializeToString()
    return make_plan(replace(plan.manifest, precision="fp16"), members)


def test_a_fast_black_picture_is_noticed(plans, picture, tmp_path):
    black(Plan.open(plans["clit"])).save(tmp_path / "black.plan")
    alone = Request(plan=tmp_path / "black.plan", image=picture, scales=[2.0], iterations=1)
    (row,) = profile(alone).rows
    assert row.quality is None
    assert "--reference" in row.unavailable["quality"]
    (row,) = profile(replace(alone, reference=plans["clit"])).rows
    assert row.quality.psnr_db < 40
    both = Sweep.parse(f"plan={plans['clit']},{tmp_path / 'black.plan'}")
    rows = profile(replace(alone, plan=None, sweeps=[both])).rows
    assert rows[0].quality.psnr_db > 100
    assert rows[1].quality.psnr_db < 40
    assert rows[1].quality.reference.startswith("clit.plan")


def test_device_times_are_kept_apart(plans, picture, monkeypatch, tmp_path, measured):
    """A runtime that offers device times is asked for them after each run, so that its events do
    not gather; the sum is divided by the images."""
    asked = []

    def start_device_times(self):
        self.asked = True

    def device_times(self):
        assert self.asked
        asked.append(len(asked))
        return [DeviceTime("encoder.onnx", 2, asked[-1] * 2.0, 4.0, 2.0)]

    monkeypatch.setattr(OrtRuntime, "start_device_times", start_device_times, raising=False)
    monkeypatch.setattr(OrtRuntime, "device_times", device_times, raising=False)
    monkeypatch.setattr(OrtRuntime, "device_bytes", lambda self: {"weights": 5}, raising=False)
    (row,) = small(plans, picture, root=tmp_path).rows
    assert row.device == (DeviceTime("encoder.onnx", 2, 1.0, 4.0, 2.0),)
    assert len(asked) == row.host_ms.count
    assert row.on_device
    text, about = dict(details(row)), (measured.machine, measured.image)
    assert "encoder.onnx upload 1.00, compute 4.00, download 2.00 ms" in text["device"]
    assert ENQUEUED in text["phases"]
    (line,) = csv.DictReader(io.StringIO(Profile("", *about, (row,)).to_csv()))
    sums = {kind: float(line[f"device.{kind}_ms"]) for kind in ("upload", "compute", "download")}
    assert sums == {"upload": 1.0, "compute": 4.0, "download": 2.0}
    assert ENQUEUED in to_html(Profile("", *about, (row,)))
    assert row.memory.device == {"weights": 5}
    assert "device" not in row.unavailable


def test_profiling_leaves_no_files_behind(plans, picture, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    small(plans, picture)
    assert not list(tmp_path.iterdir())


def test_the_default_plan_and_image_are_named(caplog, monkeypatch, picture):
    monkeypatch.setattr(clit_deploy.upscaler, "_said", False)
    monkeypatch.setattr("clit_deploy.profile.profiler.PHOTOGRAPH", picture)
    made = profile(Request(scales=[1.5], iterations=1, runtime="cpu"))
    assert made.image.name == picture.name
    assert f"no image is given; using the package's {picture.name}" in caplog.text
    assert "no plan is named" in caplog.text
