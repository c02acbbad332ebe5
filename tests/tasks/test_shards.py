"""`--shard` and `--manifest`: processes share the images, and a second run does what is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clit_deploy.cli.typed_values import parse_shard
from clit_deploy.errors import OptionError, OutputExistsError
from clit_deploy.tasks.image_sources import Source
from clit_deploy.tasks.output_names import output_tasks
from clit_deploy.tasks.output_size import OutputSize
from clit_deploy.tasks.shard import Shard
from tests.helpers import ROOT, cli, photo

NAMES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["png", "jpg", "tif"])),
    min_size=1, max_size=9, unique=True,
)  # fmt: skip


@given(NAMES, st.integers(1, 5), st.sampled_from([None, "out", "{stem}_{number}.{ext}"]))
def test_shards_make_what_one_run_makes(names, count, output):
    sources = [Source(Path(f"/nowhere/{stem}.{ext}")) for stem, ext in names]
    sizes = [OutputSize(scale=2), OutputSize(scale=3)]
    settings = {"output": output, "extension": lambda path: path.suffix}
    whole = output_tasks(sources, sizes, **settings)
    parts = [
        output_tasks(sources, sizes, **settings, shard=Shard(index, count))
        for index in range(1, count + 1)
    ]
    assert sorted((t.source, t.target) for part in parts for t in part) == sorted(
        (t.source, t.target) for t in whole
    )
    images = [{task.source for task in part} for part in parts]
    assert sum(map(len, images)) == len(sources)
    assert max(map(len, images)) - min(map(len, images)) <= 1


@pytest.mark.parametrize(
    ("paths", "output"),
    [
        (["one/a.png", "two/a.png"], "out"),
        (["a.png", "b.png"], "result.{ext}"),
        (["a.png", "b.png"], "{size}.{ext}"),  # the other's size is not read
    ],
)
def test_shards_refuse_names_that_they_may_share(paths, output):
    sources = [Source(Path("/nowhere") / path) for path in paths]
    for index in (1, 2):
        with pytest.raises(OutputExistsError, match=r"Two shards .* with a template like"):
            output_tasks(sources, [OutputSize(scale=2)], output, shard=Shard(index, 2))


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "-1/2", "a/b", "1/2/3", ""])
def test_what_is_not_a_shard(text):
    with pytest.raises(OptionError, match="is not a shard; write it like 2/8"):
        parse_shard(text)


@pytest.fixture
def images(tmp_path):
    (tmp_path / "in").mkdir()
    for k in range(5):
        Image.fromarray(photo(12, 10 + k, seed=k)).save(tmp_path / "in" / f"{k}.png")
    return tmp_path


def command(plan, folder, manifest="done.jsonl", *more):
    return ["run", "-e", str(plan), str(folder / "in"), "-s", "2", "-o", str(folder / "out"),
            "--runtime", "cpu", "--manifest", str(folder / manifest), *more]  # fmt: skip


def lines(folder, manifest="done.jsonl"):
    """What became of the results."""
    found = [json.loads(line) for line in (folder / manifest).read_text().splitlines()]
    return [line for line in found if line["status"] != "planned"]


def test_a_second_run_does_what_is_missing_failed_or_changed(images, tiny_plan):
    (images / "in" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = cli(*command(tiny_plan, images))
    assert done.returncode == 5, done.stderr
    first = {Path(line["input"]).name: line for line in lines(images)}
    assert {name: line["status"] for name, line in first.items()} == {
        "bad.png": "failed", **{f"{k}.png": "done" for k in range(5)},
    }  # fmt: skip
    assert first["2.png"]["pixels"] == 24 * 24
    assert "bad.png" in first["bad.png"]["error"]

    Image.fromarray(photo(9, 9)).save(images / "in" / "bad.png")
    Image.fromarray(photo(14, 14)).save(images / "in" / "1.png")
    (images / "out" / "3_x2.png").unlink()
    done = cli(*command(tiny_plan, images))
    assert done.returncode == 0, done.stderr
    again = [Path(line["input"]).name for line in lines(images)[6:]]
    assert sorted(again) == ["1.png", "3.png", "bad.png"]
    with Image.open(images / "out" / "1_x2.png") as made:
        assert made.size == (28, 28)

    done = cli(*command(tiny_plan, images))
    assert done.returncode == 0, done.stderr
    assert len(lines(images)) == 9
    assert "6 images left out" in done.stderr


def test_shards_write_manifests_that_can_be_joined(images, tiny_plan):
    for index in (1, 2):
        done = cli(*command(tiny_plan, images, f"{index}.jsonl", "--shard", f"{index}/2"))
        assert done.returncode == 0, done.stderr
    found = [Path(line["input"]).name for k in (1, 2) for line in lines(images, f"{k}.jsonl")]
    assert sorted(found) == [f"{k}.png" for k in range(5)]
    joined = b"".join((images / f"{k}.jsonl").read_bytes() for k in (1, 2))
    (images / "done.jsonl").write_bytes(joined)
    done = cli(*command(tiny_plan, images))
    assert done.returncode == 0, done.stderr
    assert (images / "done.jsonl").read_bytes() == joined


def test_a_manifest_of_another_run_is_refused_and_kept(images, plans, tiny_plan):
    assert cli(*command(tiny_plan, images)).returncode == 0
    before = (images / "done.jsonl").read_bytes()
    for other in (
        command(plans["liif"], images),
        command(tiny_plan, images, "done.jsonl", "--srgb"),
    ):
        done = cli(*other)
        assert done.returncode == 1
        assert "belongs to another plan or other options (line 1)" in done.stderr
    (images / "done.jsonl").write_bytes(before + b"notes\n")
    done = cli(*command(tiny_plan, images))
    assert "Line 11 of" in done.stderr
    assert "is not one of a manifest" in done.stderr
    (images / "done.jsonl").write_bytes(before[:-9])  # as a kill leaves it
    done = cli(*command(tiny_plan, images))
    assert done.returncode == 0, done.stderr
    assert len(lines(images)) == 5  # four were there, and one was made again


@pytest.mark.parametrize("other", ["--skip-existing", "--in-place"])
def test_what_cannot_be_combined(images, tiny_plan, other):
    done = cli(*command(tiny_plan, images, "done.jsonl", other))
    assert done.returncode == 2
    assert f"--manifest and {other} cannot be combined" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_killed_shard_loses_nothing_and_does_nothing_twice(tmp_path, tiny_plan):
    (tmp_path / "in").mkdir()
    for k in range(30):
        Image.fromarray(photo(40, 60, seed=k)).save(tmp_path / "in" / f"{k:02}.png")
    started = [sys.executable, "-m", "clit_deploy", *command(tiny_plan, tmp_path)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(started, env=environment, **quiet) as process:
        deadline = time.monotonic() + 60
        while len(list((tmp_path / "out").glob("*.png"))) < 4 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    done = cli(*command(tiny_plan, tmp_path))  # the kill may have come before a line
    assert done.returncode == 0, done.stderr
    outputs = [line["output"] for line in lines(tmp_path)]
    assert len(outputs) == len(set(outputs)) == 30
    assert len(list((tmp_path / "out").glob("*.png"))) == 30
    assert not list((tmp_path / "out").glob(".*"))
