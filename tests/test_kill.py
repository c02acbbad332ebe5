"""`kill -9` in the middle of a batch: no half file under a final name, and the next run finishes.

`CLIT_DEPLOY_KILLS` is how often, 3 by default; the moments come from a fixed seed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from tests.helpers import ROOT, cli, photo

KILLS = int(os.environ.get("CLIT_DEPLOY_KILLS", "3"))
IMAGES = 30
SPAN = float(os.environ.get("CLIT_DEPLOY_KILL_SPAN", "6"))
"""Seconds within which a run is killed; it takes about so long."""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_killed_batch_is_finished_by_the_next_run(tiny_plan, tmp_path, record_property):
    source = tmp_path / "in"
    for k in range(IMAGES):
        place = source / ("sub" if k % 3 == 0 else ".")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo(40 + k, 60, seed=k)).save(place / f"{k:02}.png")
    command = [sys.executable, "-m", "clit_deploy", "run", str(source), "-s", "3"]
    command += ["-o", str(tmp_path / "out"), "-e", str(tiny_plan), "--skip-existing", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    rng = np.random.default_rng(9)
    parts = finished = 0
    for _ in range(KILLS):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, env=environment, **quiet) as process:
            time.sleep(float(rng.uniform(0.3, SPAN)))
            process.send_signal(signal.SIGKILL)
        out = tmp_path / "out"
        parts += len(list(out.rglob("*.part")))
        for path in out.rglob("*.png"):
            whole(path, source / path.relative_to(out))
        if len(list(out.rglob("*.png"))) == IMAGES:
            finished += 1
            for path in list(out.rglob("*.png"))[:20]:
                path.unlink()
    record_property("parts_that_were_left", parts)
    record_property("runs_that_were_finished", finished)
    done = cli(*command[3:])
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").rglob("*.png"))) == IMAGES
    assert not list((tmp_path / "out").rglob("*.part"))
    assert not [p for p in (tmp_path / "out").rglob("*") if p.name.startswith(".")]


def whole(path, source):
    """The file can be decoded to its end, and has the right size."""
    original = source.with_name(path.name.replace("_x3", ""))
    with Image.open(path) as made, Image.open(original) as image:
        made.load()
        assert made.size == (3 * image.width, 3 * image.height)
