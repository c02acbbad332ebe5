"""Images from pipes and to stdout, and standard streams that are closed."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest
from PIL import Image

from tests.helpers import ROOT, photo

posix = pytest.mark.skipif(sys.platform == "win32", reason="the shell of POSIX")


@pytest.fixture
def image(tmp_path):
    Image.fromarray(photo(8, 9)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def shell(line, plan, **options):
    """Run a shell line with `$RUN` for the command and its plan."""
    run = f"'{sys.executable}' -m clit_deploy -q run -e '{plan}' -s 2"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        ["bash", "-c", line.replace("$RUN", run)],
        capture_output=True,
        env=environment,
        check=False,
        timeout=120,
        **options,
    )


def opened(content):
    return Image.open(io.BytesIO(content))


@posix
def test_stdin_to_stdout_keeps_the_format(plans, image):
    done = shell(f"$RUN - < '{image}'", plans["liif"])
    assert done.returncode == 0, done.stderr
    assert (opened(done.stdout).format, opened(done.stdout).size) == ("PNG", (18, 16))
    done = shell(f"cat '{image}' | $RUN /dev/stdin -o - --format jpg", plans["liif"])
    assert (opened(done.stdout).format, opened(done.stdout).size) == ("JPEG", (18, 16))


@posix
def test_a_pipe_is_read_once_for_several_scales(plans, image, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    line = f"cat '{image}' > '{tmp_path}/pipe' & $RUN '{tmp_path}/pipe' -s 3 -o '{tmp_path}/out'"
    done = shell(line, plans["liif"])
    assert done.returncode == 0, done.stderr
    sizes = {Image.open(path).size for path in (tmp_path / "out").iterdir()}
    assert sizes == {(18, 16), (27, 24)}


@posix
def test_what_is_not_an_image_is_named(plans):
    done = shell("echo text | $RUN - -o -", plans["liif"])
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"not an image" in done.stderr
    done = shell("$RUN - -o - < /dev/null", plans["liif"])
    assert b"is empty" in done.stderr


@posix
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "> /dev/full"])
def test_closed_streams_lose_no_image(plans, image, tmp_path, closed):
    done = shell(f"$RUN '{image}' -o '{tmp_path}/o.png' {closed}", plans["liif"])
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "o.png") as made:
        made.load()
        assert made.size == (18, 16)


@posix
def test_a_stdout_that_takes_no_image_is_an_error(plans, image):
    done = shell(f"$RUN '{image}' -o - --format png > /dev/full", plans["liif"])
    assert done.returncode == 1
    assert b"No space left" in done.stderr


def test_several_results_do_not_fit_into_stdout(plans, image):
    done = shell(f"$RUN '{image}' -s 3 -o -", plans["liif"])
    assert done.returncode == 1
    assert b"takes one result" in done.stderr
