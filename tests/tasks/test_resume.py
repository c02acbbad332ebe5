"""`--resume`: a killed run goes on from its finished rows, and gives the same file.

`CLIT_DEPLOY_RESUMES` is how many moments are tried, 2 by default; they come from a fixed seed.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import clit_deploy
from clit_deploy.errors import OptionError, OutputError, ResumeError
from clit_deploy.images.image_options import ImageOptions
from clit_deploy.render.layout import Layout
from clit_deploy.tasks import row_journal
from clit_deploy.tasks.output_size import OutputSize
from clit_deploy.tasks.upscale_file import upscale_file
from tests.helpers import ROOT, cli, photo

RESUMES = int(os.environ.get("CLIT_DEPLOY_RESUMES", "2"))
LAYOUT = Layout(tile=48, block=64)
WANTED = OutputSize(scale=3)


class Killed(BaseException):
    """Ends a run without a word, like a kill."""


@pytest.fixture
def up(tiny_plan):
    with clit_deploy.load(tiny_plan, runtime="cpu", threads=1) as opened:
        yield opened


def image(folder, mode):
    pixels = photo(130, 60)
    if mode == "RGBA":
        alpha = np.tile(np.linspace(0, 255, 130).astype(np.uint8)[:, None, None], (1, 60, 1))
        pixels = np.concatenate([pixels, alpha], 2)
    made = Image.fromarray(pixels)
    (made.convert("L") if mode == "L" else made).save(folder / "a.png")
    return folder / "a.png"


def run(up, source, target, after=None, wanted=WANTED, options=None):
    """Upscale; `after` so many strips the run ends."""
    count = 0

    def progress(_):
        nonlocal count
        count += 1
        if after is not None and count > after:
            raise Killed

    settings = {} if options is None else {"options": options}
    return upscale_file(up, source, target, wanted, layout=LAYOUT, progress=progress, resume=True,
                        **settings)  # fmt: skip


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_a_run_that_goes_on_gives_the_same_file(up, tmp_path, mode, suffix):
    source = image(tmp_path, mode)
    options = ImageOptions(tiled=suffix == "tif", depth="16")
    whole, target = tmp_path / f"whole.{suffix}", tmp_path / f"a_x3.{suffix}"
    upscale_file(up, source, whole, WANTED, layout=LAYOUT, options=options)
    for after in (2, 7, 0):  # each run goes a little further
        with pytest.raises(Killed):
            run(up, source, target, after, options=options)
        assert target.with_name(f"{target.name}.resume").exists()
        assert not target.exists()
    run(up, source, target, options=options)
    assert target.read_bytes() == whole.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["a.png", target.name, whole.name])


def test_what_is_finished_is_not_computed_again(up, tmp_path):
    source, target = image(tmp_path, "RGB"), tmp_path / "o.png"
    with pytest.raises(Killed):
        run(up, source, target, after=9)
    parts = []
    upscale_file(up, source, target, WANTED, progress=parts.append, resume=True)
    assert parts[0] > 0.3
    assert parts[-1] == 1


def test_a_record_that_was_cut_off_is_dropped(up, tmp_path):
    source, target = image(tmp_path, "RGB"), tmp_path / "o.png"
    whole = tmp_path / "whole.png"
    upscale_file(up, source, whole, WANTED, layout=LAYOUT)
    with pytest.raises(Killed):
        run(up, source, target, after=14)
    kept = tmp_path / "o.png.resume"
    content = kept.read_bytes()
    for damaged in (content[:-7], content[:-30] + bytes(30), content + b"garbage" * 9, content[:9]):
        kept.write_bytes(damaged)
        run(up, source, target)
        assert target.read_bytes() == whole.read_bytes()
        target.unlink()


def test_finished_rows_of_another_run_are_refused(up, plans, tmp_path):
    source, target = image(tmp_path, "RGB"), tmp_path / "o.png"
    with pytest.raises(Killed):
        run(up, source, target, after=3)
    kept = (tmp_path / "o.png.resume").read_bytes()
    with pytest.raises(ResumeError, match=r"o.png.resume belongs to another run \(size differ\)"):
        run(up, source, target, wanted=OutputSize(scale=3.01))
    with pytest.raises(ResumeError, match=r"\(rows differ\)"):
        run(up, source, target, options=ImageOptions(depth="16"))
    with (
        clit_deploy.load(plans["liif"], runtime="cpu", threads=1) as other,
        pytest.raises(ResumeError, match=r"\(plan differ\)"),
    ):
        run(other, source, target)
    Image.fromarray(photo(130, 60, seed=8)).save(source)
    with pytest.raises(ResumeError, match=r"\(image differ\)"):
        run(up, source, target)
    assert (tmp_path / "o.png.resume").read_bytes() == kept
    (tmp_path / "o.png.resume").write_text("my notes\n")
    with pytest.raises(ResumeError, match="does not hold the rows of a run"):
        run(up, source, target)
    assert (tmp_path / "o.png.resume").read_text() == "my notes\n"


def test_a_full_disk_keeps_what_is_finished(up, tmp_path, monkeypatch):
    source, target = image(tmp_path, "RGB"), tmp_path / "o.png"
    whole = tmp_path / "whole.png"
    upscale_file(up, source, whole, WANTED, layout=LAYOUT)
    syncs = 0

    def full(handle):
        nonlocal syncs
        syncs += 1
        if syncs > 3:
            os.truncate(handle, os.fstat(handle).st_size - 5)
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(row_journal.os, "fsync", full)
        with pytest.raises(OutputError, match=r"the disk is full\. It keeps the finished rows"):
            run(up, source, target)
    assert not target.exists()
    run(up, source, target)
    assert target.read_bytes() == whole.read_bytes()


def test_streams_and_a_second_process_are_refused(up, tmp_path):
    source, target = image(tmp_path, "RGB"), tmp_path / "o.png"
    for one, other in ((source, Path("-")), (Path("-"), target)):
        with pytest.raises(OptionError, match="--resume needs files, and - is a stream"):
            run(up, one, other)
    with row_journal.row_journal(target), pytest.raises(OutputError, match="Another pro"):
        run(up, source, target)


def begun(kept):
    return kept.exists() and kept.stat().st_size > 0


def obey():
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("attempt", range(RESUMES))
def test_the_command_goes_on_after_a_kill(tiny_plan, tmp_path, attempt):
    Image.fromarray(photo(200, 300, seed=attempt)).save(tmp_path / "a.png")
    command = ["run", "-e", str(tiny_plan), str(tmp_path / "a.png"), "-s", "6", "--resume"]
    command += ["--runtime", "cpu", "--threads", "1", "--max-memory", "400MB"]
    rng = np.random.default_rng([5, attempt])
    number = signal.SIGINT if attempt % 4 == 3 else signal.SIGKILL
    target, kept = tmp_path / "a_x6.png", tmp_path / "a_x6.png.resume"
    for start in range(2):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        quiet["preexec_fn"] = obey  # a background job ignores SIGINT
        started = [sys.executable, "-m", "clit_deploy", *command]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(started, env=environment, **quiet) as process:
            deadline = time.monotonic() + 60
            while not begun(kept) and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(float(rng.uniform(0.1, 1.5)))
            process.send_signal(number)
            errors = process.stderr.read()
        if target.exists():
            break
        assert kept.exists()
        if number == signal.SIGINT and start == 0:  # later, it may come before the file is opened
            assert "a_x6.png.resume keeps the finished rows" in errors
    done = cli(*command) if not target.exists() else None
    assert done is None or done.returncode == 0, done.stderr
    plain = cli(*[c for c in command if c != "--resume"], "-o", tmp_path / "whole.png")
    assert plain.returncode == 0, plain.stderr
    assert target.read_bytes() == (tmp_path / "whole.png").read_bytes()
    assert not kept.exists()
    assert not list(tmp_path.glob(".*"))
